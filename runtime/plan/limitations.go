package plan

// limitations tells what a rootless container lacks, and why it is rootless; "" for one
// that is not.
func limitations(f Facts) string {
	if !f.Rootless {
		return ""
	}
	why := "no grant"
	if f.GrantIgnored != nil {
		why = f.GrantIgnored.Error()
	}
	text := why + ", so in a user namespace of yours: without limits on what all processes use, private networks, and the policy's rules"
	if !f.HasIDs {
		text += "; all files look like yours, for you have no subordinate ids"
	}
	return text
}
