package ci

import (
	"fmt"
	"slices"
	"strings"
)

// A service is a container that a job talks to, such as a database. All containers of a
// job share one network, in which each is "localhost" under every name.
type service struct {
	image   string
	aliases []string
	command []string
	flags   []string
	ports   []string // HOST:CONTAINER
	env     []string
}

// begin begins a job's container, then those of its services, in its network.
func begin(m Machine, job Container, services []service) error {
	if len(services) > 0 {
		if !slices.ContainsFunc(job.Flags, isNetwork) {
			job.Flags = append(job.Flags, "--network", "private")
		}
		for _, s := range services {
			if err := checkImage(s.image); err != nil {
				return fmt.Errorf("service %s: %w", s.image, err)
			}
			for _, ports := range s.ports { // of the network, which is the job's
				job.Flags = append(job.Flags, "--publish", ports)
			}
			if len(s.command) == 0 {
				return fmt.Errorf("service %s: it needs a command: images have none of their own here", s.image)
			}
			for _, alias := range s.aliases {
				if isHostName(alias) {
					job.Flags = append(job.Flags, "--add-host", alias+":127.0.0.1")
				}
			}
		}
	}
	err := m.Hold(job)
	for i, s := range services {
		if err != nil {
			break
		}
		err = m.Hold(Container{Name: fmt.Sprintf("%s-%d", job.Name, i+1), Image: s.image, Command: s.command, Variables: s.env,
			Flags: append(slices.Clone(s.flags), "--no-host-binds", "--chdir", "/", "--network", "join:"+job.Name)})
		if err != nil {
			err = fmt.Errorf("service %s: %w", s.image, err)
		}
	}
	return err
}

func isNetwork(flag string) bool {
	return flag == "--network" || strings.HasPrefix(flag, "--network=")
}

// isHostName tells whether a name can stand in /etc/hosts.
func isHostName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}
