package oci

import (
	"encoding/json"
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
		if strings.HasPrefix(entry, "A B") && !strings.Contains(err.Error(), "its name has a blank") {
			t.Errorf("%q: %v", entry, err)
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

// docker: "Healthcheck", "OnBuild" and "Shell" of a configuration.
func TestWhatHasNoEffectIsKeptAndTold(t *testing.T) {
	const text = `{"Healthcheck":{"Test":["CMD","true"],"Interval":5},"OnBuild":["RUN x"],"Shell":["/bin/bash","-c"]}`
	s := &Settings{}
	err := json.Unmarshal([]byte(text), s)
	if err == nil {
		s, err = s.Checked()
	}
	if want := `Healthcheck, OnBuild, Shell ["/bin/bash" "-c"]`; err != nil || s.Unused() != want {
		t.Errorf("%q, %v, want %q", s.Unused(), err, want)
	}
	if kept, err := json.Marshal(s); err != nil || string(kept) != text {
		t.Errorf("%s, %v", kept, err)
	}
	none := &Settings{}
	if err := json.Unmarshal([]byte(`{"Healthcheck":null,"OnBuild":null,"Shell":null}`), none); err != nil {
		t.Fatal(err)
	}
	if kept, err := none.Checked(); kept != nil || err != nil {
		t.Errorf("nothing is set: %+v, %v", kept, err)
	}
}
