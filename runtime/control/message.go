package control

import "mayfly/runtime/status"

// A Request is what a supervisor is asked for. On one connection it is the first
// message; after Exec, Signals may follow.
type Request struct {
	Exec   *Exec `json:"exec,omitempty"`
	Signal int   `json:"signal,omitempty"` // send it to the command, or to that of Exec
	Group  bool  `json:"group,omitempty"`  // send Signal to the process group
	// Key: the key that stops a job was typed on the terminal of Exec's command. The
	// terminal's foreground process group is this one.
	Key  int  `json:"key,omitempty"`
	Wait bool `json:"wait,omitempty"` // answer when the container has ended
	Plan bool `json:"plan,omitempty"` // answer with the plan
	// Network: answer with a descriptor of the container's network.
	Network bool `json:"network,omitempty"`
}

// An Exec is another command for a container. Its descriptors 0, 1 and 2 come with the
// message. If the command gets a terminal, only 2 comes, and only if it is not a
// terminal.
type Exec struct {
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"` // NAME=VALUE, added to that of the container's command
	Dir      string   `json:"dir,omitempty"` // "": that of the container's command
	Terminal bool     `json:"terminal,omitempty"`
	// KeepTerm: TERM stays as it is, even if the container has no description of it.
	KeepTerm bool `json:"keepTerm,omitempty"`
	// TTY: the command's terminal is /dev/tty only.
	TTY bool `json:"tty,omitempty"`
}

// A Reply is an answer.
type Reply struct {
	Started bool        `json:"started,omitempty"` // the Exec; with a terminal's master where it has one
	Stopped bool        `json:"stopped,omitempty"` // the Exec, which has a terminal
	Ended   *status.End `json:"ended,omitempty"`   // the Exec, or the container's command
	Plan    any         `json:"plan,omitempty"`
	Address uint32      `json:"address,omitempty"` // of the Network, whose lease is a second descriptor; 0: it has none
	Problem string      `json:"problem,omitempty"` // what was asked for was not done
	Code    int         `json:"code,omitempty"`    // the exit status that goes with the problem
}
