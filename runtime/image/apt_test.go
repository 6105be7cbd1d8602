package image

import "testing"

func TestOptionsOfApt(t *testing.T) {
	for option, want := range map[string]string{
		"Acquire::Check-Valid-Until=false": `Acquire::Check-Valid-Until "false";`,
		"APT::X=":                          `APT::X "";`,
		"Acquire::http::Proxy::h=http://p": `Acquire::http::Proxy::h "http://p";`,
		"X=1":                              "", "APT::X": "", "APT::X y=1": "", "APT::X=\"": "", "APT::X=\\": "", "APT::X;=1": "", "--aptopt::x=1\n": "",
	} {
		if got, err := aptOption(option); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", option, got, err, want)
		}
	}
}
