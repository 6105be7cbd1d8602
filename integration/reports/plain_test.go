package reports

import "testing"

func TestTheCommandAndItsEnd(t *testing.T) {
	hold(t, []report{
		{name: "the exit status is the command's", source: "toolbox: run does not return the exit code",
			do: `cd /home; $R $T -- sh -c 'exit 7'`, code: 7},
		{name: "arguments come as they were given", source: "distrobox: enter splits arguments at spaces",
			do: `cd /home; $R $T -- printf '[%s]' 'a b' '' '$x' '*'`, out: "[a b][][$x][*]"},
	})
}
