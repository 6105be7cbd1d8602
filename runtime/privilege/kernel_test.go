package privilege

import "testing"

func TestKernelVersions(t *testing.T) {
	for release, good := range map[string]bool{"5.15.0-91-generic": true, "6.1.0": true, "6.18.44-x": true, "5.10.0-28-amd64": false, "4.19": false, "x": false} {
		if err := kernelAtLeast(release, 5, 15); (err == nil) != good {
			t.Errorf("%s: %v", release, err)
		}
	}
}
