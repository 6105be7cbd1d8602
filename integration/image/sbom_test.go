package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"mayfly/integration/kit"
)

// spdxSchema is the published schema of SPDX 2.3. The Go module of another program has
// it, which is fetched like all modules, outside of this one.
func spdxSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const module, sum = "github.com/anchore/syft@v1.57.1", "c2e139546ef93597d3b1214d1d452369d0b536af6c6d6500dbd25c582034aa7c"
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Dir = t.TempDir()
	out, err := download.Output()
	var found struct{ Dir, Error string }
	if json.Unmarshal(out, &found) != nil || found.Dir == "" {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(found.Dir, "schema/spdx-json/spdx-schema-2.3.json"))
	kit.Must(t, err)
	if got := fmt.Sprintf("%x", sha256.Sum256(text)); got != sum {
		t.Fatalf("the schema is another: %s", got)
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	kit.Must(t, err)
	const name = "http://spdx.org/rdf/terms/2.3"
	c := jsonschema.NewCompiler()
	kit.Must(t, c.AddResource(name, schema))
	return c.MustCompile(name)
}

func TestTheBillOfMaterialsIsSPDX(t *testing.T) {
	schema := spdxSchema(t)
	r := kit.Run(t, "image", "sbom", kit.Sealed)
	if r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if again := kit.Run(t, "image", "sbom", kit.Sealed); again.Out != r.Out {
		t.Error("it is not the same again")
	}
	check := func(text string) error {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return schema.Validate(document)
	}
	if err := check(r.Out); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{{`"CONTAINS"`, `"HAS"`}, {`"PACKAGE-MANAGER"`, `"PACKAGES"`}, {`"dataLicense"`, `"license"`}} {
		if check(strings.Replace(r.Out, change[0], change[1], 1)) == nil {
			t.Errorf("%s for %s passes", change[1], change[0])
		}
	}
	// What the schema leaves open.
	var d struct {
		SPDXVersion  string `json:"spdxVersion"`
		CreationInfo struct{ Created string }
		Packages     []struct {
			SPDXID, Name, VersionInfo string
			ExternalRefs              []struct{ ReferenceLocator string }
		}
		Relationships []struct{ SPDXElementID, RelatedSPDXElement string }
	}
	kit.Must(t, json.Unmarshal([]byte(r.Out), &d))
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	purl := regexp.MustCompile(`^pkg:deb/debian/[a-z0-9.+%A-F-]+@[A-Za-z0-9.~:%-]+\?arch=[a-z0-9]+&distro=bookworm$`)
	for _, p := range d.Packages {
		if ids[p.SPDXID] || !regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`).MatchString(p.SPDXID) {
			t.Errorf("id %q", p.SPDXID)
		}
		ids[p.SPDXID] = true
		if p.Name == kit.Sealed+"@1" {
			continue
		}
		if len(p.ExternalRefs) != 1 || !purl.MatchString(p.ExternalRefs[0].ReferenceLocator) {
			t.Errorf("%+v", p)
		}
	}
	for _, r := range d.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("%+v leads nowhere", r)
		}
	}
	if _, err := time.Parse(time.RFC3339, d.CreationInfo.Created); err != nil || d.SPDXVersion != "SPDX-2.3" || len(d.Relationships) != len(d.Packages) {
		t.Errorf("%v, %s, %d relationships of %d packages", err, d.SPDXVersion, len(d.Relationships), len(d.Packages))
	}
	var packages struct{ Packages map[string]string }
	kit.Must(t, json.Unmarshal([]byte(kit.Succeed(t, "image", "inspect", "--json", kit.Sealed)), &packages))
	if len(packages.Packages) != len(d.Packages)-1 {
		t.Errorf("%d packages, the image has %d", len(d.Packages)-1, len(packages.Packages))
	}
	for want, args := range map[string][]string{"it may change": {kit.Base}, "unknown image": {"nosuch"}, "is not here": {kit.Sealed + "@sha256:000000"}, "no NAME": {}} {
		if r := kit.Run(t, append([]string{"image", "sbom"}, args...)...); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
