package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// images times launches of a version, which is mounted, against those of a plain image,
// which is copied, as the user.
func (b bench) images() {
	user := &syscall.Credential{Uid: id(b.uid), Gid: id(b.gid)}
	launch := func(name, image string) *contender {
		return &contender{name: name, args: []string{binary, "run", "--chdir", "/", image, nothing}, as: user}
	}
	sealed := b.image + "-sealed"
	title("A version against a plain image, by the user, %d rounds", b.rounds)
	idle := launch("a version", sealed)
	table(b.rounds, []*contender{launch("a plain image, by a snapshot", b.image), idle})

	title("The same while another process writes to the same file system at full speed, %d rounds", b.rounds)
	stop := writer()
	loaded := launch("a version", sealed)
	table(b.rounds, []*contender{launch("a plain image, by a snapshot", b.image), loaded})
	stop()
	fmt.Printf("\nThe 95th percentile under load is %.2f times the idle median.\n", quantile(loaded.ms, 0.95)/quantile(idle.ms, 0.5))
	b.importing()
	b.manyImages(launch, sealed)
}

// importing compares an import of a tar archive of a gibibyte with tar -x.
func (b bench) importing() {
	const archive, dir = work + "/gib.tar", store + "/.mayfly-bench-tar"
	output("sh", "-ec", fmt.Sprintf("mkdir -p %s/gib; cd %s/gib; for i in 1 2 3; do [ $(du -sm . | cut -f1) -gt 1023 ] || cp -a --reflink=never %s/usr $i; done; tar -cf ../gib.tar .; cd ..; rm -r gib", work, work, b.path))
	defer os.Remove(archive)
	clean := func() {
		output("sh", "-c", fmt.Sprintf("rm -rf %s; %s image remove mayfly-bench 2>/dev/null; sync; sleep 1; mkdir %s", dir, binary, dir))
	}
	title("An import of a tar archive of 1 GiB against tar -x into the same file system, 7 rounds")
	table(7, []*contender{
		{name: "tar -x", args: []string{"tar", "-C", dir, "-xf", archive}, before: clean},
		{name: "runtime image import", args: []string{binary, "image", "import", "mayfly-bench", archive}, before: clean},
	})
	out := output("/usr/bin/env", "bash", "-c", fmt.Sprintf("%s image remove mayfly-bench; %s image import mayfly-bench %s >/dev/null 2>&1 & pid=$!; most=0; while rss=$(awk '/VmHWM/{print $2}' /proc/$pid/status 2>/dev/null) && [ -n \"$rss\" ]; do most=$rss; sleep 0.05; done; echo $most", binary, binary, archive))
	fmt.Printf("\nIt holds %s KiB at most.\n", strings.TrimSpace(out))
	clean()
	_ = os.Remove(dir)
}

// manyImages times launches with a thousand other images in the store, and a thousand
// versions of one.
func (b bench) manyImages(launch func(name, image string) *contender, sealed string) {
	const many = 1000
	tree := filepath.Join(work, "tree")
	output("sh", "-ec", "rm -rf "+tree+"; mkdir "+tree+"; : >"+tree+"/file")
	alone := launch("alone", sealed)
	title("A version with other images and versions in the store, %d rounds each", b.rounds)
	measure(b.rounds, []*contender{alone})
	name := func(i int) string { return fmt.Sprintf("mayfly-bench-%d", i) }
	defer func() {
		for i := range many {
			output(binary, "image", "remove", name(i))
		}
	}()
	for i := range many {
		output(binary, "image", "import", name(i), tree)
	}
	for range many - 1 {
		output(binary, "image", "import", "--next", name(0), tree)
	}
	crowded := launch("with 1000 images, and 1000 versions of one", sealed)
	measure(b.rounds, []*contender{crowded})
	fmt.Println("| | median ms | 95th percentile |\n|---|---|---|")
	for _, c := range []*contender{alone, crowded} {
		fmt.Printf("| %s | %.2f | %.2f |\n", c.name, quantile(c.ms, 0.5), quantile(c.ms, 0.95))
	}
}
