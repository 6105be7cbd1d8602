package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dropIn holds rules that are for other images, before the one that is for ours.
const dropIn = "/etc/mayfly/policy.d/00-bench.toml"

// grant compares a user's launch with root's, and a long policy with a short one.
func (b bench) grant() {
	user := &syscall.Credential{Uid: id(b.uid), Gid: id(b.gid)}
	launch := []string{binary, "run", "--chdir", "/", b.image, nothing}
	byRoot := []string{binary, "run", "--chdir", "/", "--user", who, b.image, nothing}
	short := func() {
		if err := os.Remove(dropIn); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Fatal(err)
		}
	}
	long := func() {
		if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(dropIn, []byte(rules(199)), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	defer short()
	title("The grant and the policy, %d rounds", b.rounds)
	table(b.rounds, []*contender{
		{name: "by root for a user", args: byRoot, before: short},
		{name: "by the user, through file capabilities", args: launch, as: user, before: short},
		{name: "the same with a policy of 200 rules", args: launch, as: user, before: long},
	})
}

func rules(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[rule]]\nimages = [\"image-%d-*\", \"other-%d\"]\nusers = [\"ci\"]\nbind = [\"/home\", \"/srv/%d\"]\nallow-bind = [\"/srv\"]\nwritable = true\n\n", i, i, i)
	}
	return b.String()
}

func id(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	return uint32(n)
}
