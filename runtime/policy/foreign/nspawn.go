package foreign

import (
	"path"
	"slices"
	"strings"

	"mayfly/runtime/policy/rule"
)

// Nspawn converts a file NAME.nspawn (systemd.nspawn(5)) into a rule. Such a file names
// no users, so the rule is for root until the administrator names users.
//
// exists tells whether a file is there: a disk image of that name is to be imported.
func Nspawn(name, text string, exists func(path string) bool) (string, error) {
	sections, err := parseINI(name, text, true)
	if err != nil {
		return "", err
	}
	r := converted{
		title: name, nobody: true, bindReadOnly: slices.Clone(usualBinds),
		images: []string{strings.TrimSuffix(path.Base(name), ".nspawn")},
	}
	if disk := path.Join(rule.DefaultStore, r.images[0]+".raw"); exists(disk) {
		r.source = disk
	}
	for _, s := range sections {
		for _, set := range s.settings {
			r.nspawn(s.name, set)
		}
	}
	var b strings.Builder
	r.write(&b)
	return b.String(), nil
}

func (r *converted) nspawn(section string, set setting) {
	switch section + "." + set.name {
	case "Exec.Personality":
		if set.value == "x86" || set.value == "x86-64" {
			r.personality = set.value
			return
		}
	case "Exec.Ephemeral", "Files.ReadOnly":
		if truth(set.value) {
			return // always so
		}
	case "Exec.Boot":
		if !truth(set.value) {
			return
		}
	case "Files.Bind", "Files.BindReadOnly":
		if r.nspawnBind(set.value, set.name == "BindReadOnly") {
			return
		}
	case "Network.Private":
		if truth(set.value) {
			r.network = "none"
		}
		return
	case "Network.VirtualEthernet", "Network.VirtualEthernetExtra", "Network.Bridge", "Network.Zone", "Network.MACVLAN", "Network.IPVLAN":
		r.network = "private"
	}
	r.lost = append(r.lost, "["+section+"] "+set.name+"="+set.value)
}

// nspawnBind takes over SOURCE, or SOURCE:DESTINATION[:OPTIONS] if both are the same
// path.
func (r *converted) nspawnBind(text string, readOnly bool) bool {
	if strings.Contains(text, `\`) {
		return false
	}
	fields := strings.Split(text, ":")
	if len(fields) > 3 || len(fields) > 1 && fields[1] != fields[0] || !bindable(fields[0]) {
		return false
	}
	if len(fields) == 3 && fields[2] != "rbind" && fields[2] != "norbind" {
		return false
	}
	r.add(fields[0], readOnly)
	return true
}

func truth(value string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(value))
}
