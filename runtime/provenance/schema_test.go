package provenance

import (
	"errors"
	"strings"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	attestation "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// valid checks a statement with the formats' own types.
func valid(data []byte) error {
	var s attestation.Statement
	if err := protojson.Unmarshal(data, &s); err != nil { // refuses what it does not know
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if s.GetType() != attestation.StatementTypeUri || s.GetPredicateType() != "https://slsa.dev/provenance/v1" {
		return errors.New("the types are others")
	}
	predicate, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		return err
	}
	var p slsa.Provenance
	if err := protojson.Unmarshal(predicate, &p); err != nil {
		return err
	}
	return p.Validate()
}

func TestAStatementIsOfThePublishedFormats(t *testing.T) {
	data, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(data); err != nil {
		t.Errorf("%v: %s", err, data)
	}
	for _, change := range [][2]string{{`"invocationId"`, `"invocation"`}, {`"buildType": "urn:mayfly:run:v1"`, `"buildType": ""`}, {`0123456789abcdef0123`, `x`}, {`Statement/v1`, `Statement/v0.1`}, {`1970-01-01T00:00:01Z`, `yesterday`}} {
		changed := strings.ReplaceAll(string(data), change[0], change[1])
		if changed == string(data) || valid([]byte(changed)) == nil {
			t.Errorf("%q for %q passes", change[1], change[0])
		}
	}
}
