package oci

import (
	"strings"
	"testing"
)

func TestWhatAConfigurationMaySetInTheEnvironment(t *testing.T) {
	for entry, good := range map[string]bool{"A=": true, "A=b=c": true, "BASH_FUNC_x%%=()": true, "A=new\nline": true, "": false, "A": false,
		"=b": false, "A B=c": false, "A\n=c": false, "Ä=c": false, "A=b\x00c": false, "A=" + strings.Repeat("x", maxEnv): false} {
		s, err := (&Settings{Env: []string{entry}}).Checked()
		if (err == nil) != good || good != (s != nil) {
			t.Errorf("%.40q: %v", entry, err)
		}
	}
	many := &Settings{Env: strings.Split(strings.Repeat("A=b,", maxEnv/4)+"A=b", ",")}
	if _, err := many.Checked(); err == nil {
		t.Error("a large environment of small entries is accepted")
	}
	if s, err := (&Settings{Env: []string{}}).Checked(); s != nil || err != nil {
		t.Errorf("nothing is set: %+v, %v", s, err)
	}
}
