package plan

import "github.com/opencontainers/runtime-spec/specs-go"

// swappedMappings returns IdMappings with root and the caller swapped: what root inside
// makes is the caller's on the host. The same ids are mapped, so root inside can reach
// no other files.
func swappedMappings(own, first uint32) []specs.LinuxIDMapping {
	var list []specs.LinuxIDMapping
	for _, m := range IdMappings(own, first) {
		switch {
		case m.ContainerID == own && m.HostID == own:
			m.HostID = first
		case m.ContainerID == 0:
			list = append(list, specs.LinuxIDMapping{ContainerID: 0, HostID: own, Size: 1})
			m = specs.LinuxIDMapping{ContainerID: 1, HostID: first + 1, Size: m.Size - 1}
		}
		if m.Size > 0 {
			list = append(list, m)
		}
	}
	return list
}

// IdMappings maps ids inside to subordinate ids from first on, and the caller's own id
// to itself. If the caller is root, all of them are subordinate.
func IdMappings(own, first uint32) []specs.LinuxIDMapping {
	mapped := func(inside, outside, n uint32) specs.LinuxIDMapping {
		return specs.LinuxIDMapping{ContainerID: inside, HostID: outside, Size: n}
	}
	if own == 0 {
		return []specs.LinuxIDMapping{mapped(0, first, RootIDs)}
	}
	below := min(own, RootIDs)
	list := []specs.LinuxIDMapping{mapped(0, first, below), mapped(own, own, 1)}
	if own+1 < RootIDs {
		list = append(list, mapped(own+1, first+own+1, RootIDs-own-1))
	}
	return list
}

// onHost returns the id on the host of an id inside.
func onHost(list []specs.LinuxIDMapping, inside uint32) uint32 {
	for _, m := range list {
		if inside >= m.ContainerID && inside-m.ContainerID < m.Size {
			return m.HostID + inside - m.ContainerID
		}
	}
	return inside
}
