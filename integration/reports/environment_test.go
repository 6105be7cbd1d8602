package reports

import "testing"

func TestColours(t *testing.T) {
	hold(t, []report{
		{name: "COLORTERM and NO_COLOR pass", source: "toolbox: COLORTERM is not set inside; no-color.org",
			do:  `cd /home; COLORTERM=truecolor NO_COLOR=1 $R $T -- sh -c 'echo $COLORTERM $NO_COLOR'`,
			out: "truecolor 1\n"},
	})
}
