// Package sbom writes what is in an image as a bill of materials: a document of SPDX
// 2.3 (https://spdx.github.io/spdx-spec/v2.3/) in JSON, from dpkg's records.
//
// It is pure: one version of an image always gives the same document.
package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"mayfly/runtime/image"
)

// An About is what is known of the image itself.
type About struct {
	Image   string // NAME@VERSION
	Digest  string // with its algorithm
	Created time.Time
	Release map[string]string // of os-release(5)
	Program string            // name and version of this program
}

// A document has the names of the specification.
type document struct {
	Version       string         `json:"spdxVersion"`
	License       string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []spdxPackage  `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID            string      `json:"SPDXID"`
	Name          string      `json:"name"`
	Version       string      `json:"versionInfo,omitempty"`
	Supplier      string      `json:"supplier,omitempty"`
	Location      string      `json:"downloadLocation"`
	FilesAnalyzed bool        `json:"filesAnalyzed"`
	Homepage      string      `json:"homepage,omitempty"`
	Source        string      `json:"sourceInfo,omitempty"`
	Concluded     string      `json:"licenseConcluded"`
	Declared      string      `json:"licenseDeclared"`
	Copyright     string      `json:"copyrightText"`
	Purpose       string      `json:"primaryPackagePurpose,omitempty"`
	Checksums     []checksum  `json:"checksums,omitempty"`
	References    []reference `json:"externalRefs,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	unknown    = "NOASSERTION"
	documentID = "SPDXRef-DOCUMENT"
	imageID    = "SPDXRef-Image"
)

// SPDX returns the document.
func SPDX(a About, installed []image.Package) ([]byte, error) {
	sum := strings.TrimPrefix(a.Digest, "sha256:")
	top := spdxPackage{ID: imageID, Name: a.Image, Version: a.Digest, Location: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
		Purpose: "OPERATING_SYSTEM"}
	d := document{"SPDX-2.3", "CC0-1.0", documentID, a.Image, "https://spdx.org/spdxdocs/" + url.PathEscape(a.Image) + "-" + sum,
		creation{a.Created.UTC().Format("2006-01-02T15:04:05Z"), []string{"Tool: " + a.Program}},
		[]spdxPackage{top}, []relationship{{documentID, "DESCRIBES", imageID}}}
	ids := map[string]int{}
	for _, p := range installed {
		one := ofPackage(p, a.Release)
		if ids[one.ID]++; ids[one.ID] > 1 { // different names may be written alike
			one.ID += fmt.Sprintf("-%d", ids[one.ID])
		}
		d.Packages = append(d.Packages, one)
		d.Relationships = append(d.Relationships, relationship{imageID, "CONTAINS", one.ID})
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return text.Bytes(), err
}

func ofPackage(p image.Package, release map[string]string) spdxPackage {
	one := spdxPackage{ID: "SPDXRef-Package-" + idOf(p.Name+"-"+p.Arch), Name: p.Name, Version: p.Version, Location: unknown, Homepage: webPage(p.Homepage),
		Concluded: unknown, Declared: unknown, Copyright: unknown,
		References: []reference{{"PACKAGE-MANAGER", "purl", purl(p, release)}}}
	if name := strings.TrimSpace(p.Maintainer); name != "" {
		one.Supplier = "Organization: " + supplier(name)
	}
	source := p.Source
	if source == "" {
		source = p.Name
	}
	one.Source = "built from the source package " + source
	return one
}

// idOf replaces what an SPDX id cannot have.
func idOf(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			return c
		}
		return '-'
	}, text)
}

// supplier writes NAME <ADDRESS> as SPDX does, NAME (ADDRESS).
func supplier(maintainer string) string {
	name, address, has := strings.Cut(maintainer, " <")
	if !has {
		return maintainer
	}
	return name + " (" + strings.TrimSuffix(address, ">") + ")"
}

// webPage returns a homepage if it is a URI.
func webPage(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

// purl is the package's URL (https://github.com/package-url/purl-spec).
func purl(p image.Package, release map[string]string) string {
	vendor := release["ID"]
	if vendor == "" {
		vendor = "debian"
	}
	text := "pkg:deb/" + escaped(strings.ToLower(vendor)) + "/" + escaped(p.Name) + "@" + escaped(p.Version) + "?arch=" + escaped(p.Arch)
	if distro := release["VERSION_CODENAME"]; distro != "" {
		text += "&distro=" + escaped(distro)
	}
	return text
}

// escaped writes all but unreserved characters as %XX, a colon excepted.
func escaped(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_~:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
