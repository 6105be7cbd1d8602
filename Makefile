# make demo      from a Debian with Go to a C program built in a container, in two minutes
# make test      what the tests need, then the tests, for a quarter of an hour
# make build     only the binary, bin/runtime
# make install   the binary in /usr/local/bin, with its grant; make uninstall takes it back

# The package and the manual pages bear the time of the last commit.
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)
export SOURCE_DATE_EPOCH
VERSION  := $(shell .deb/version)
BIN      := bin/runtime
TAGS     :=
PREFIX   := /usr/local
MIRROR   := http://deb.debian.org/debian
export PREFIX MIRROR
ROOT     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# The collector of Go 1.26 marks at the end of each page run, which a program too short
# for a collection pays in page faults: 3 % of a launch. Later compilers may lack the choice.
GOEXPERIMENT := $(shell GOEXPERIMENT=nogreenteagc go env GOEXPERIMENT 2>/dev/null)

# What is installed where it is missing: to make an image, and for all that the tests do.
DEMO_PACKAGES := btrfs-progs mmdebstrap arch-test debian-archive-keyring
TEST_PACKAGES := $(DEMO_PACKAGES) systemd systemd-container libcap2-bin nftables iproute2 libbtrfs-dev gcc libc6-dev dpkg-dev libnss-extrausers sudo strace tini \
	umoci skopeo squashfs-tools squashfs-tools-ng acl attr uidmap xz-utils zstd bzip2 e2fsprogs qemu-system-x86 qemu-utils busybox-static cpio curl zsh fish \
	qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross openssh-client openssh-server docker-registry \
	munge slurmctld slurmd slurm-client buildbot buildbot-worker autopkgtest sbuild git-buildpackage git minisign

.PHONY: build man deb install uninstall packages prepare unprepare demo test test-here test-machines test-long test-overlay vm-test \
	check versions vulnerabilities bench picture clean

build:
	CGO_ENABLED=0 GOEXPERIMENT=$(GOEXPERIMENT) go build -trimpath -tags='$(TAGS)' \
		-ldflags='-s -w -E _rt0_mayfly -X main.version=$(VERSION)' -o $(BIN) ./cmd/runtime

# The manual pages, of docs and of the help texts.
man: build
	rm -rf bin/man
	go run ./cmd/manual $(BIN) docs bin/man "$$(LC_ALL=C date -u -d "@$(SOURCE_DATE_EPOCH)" '+%B %Y')"

deb: man
	.deb/build $(VERSION)

# docs/install.md tells what is put where.
install: build
	$(ROOT) env PREFIX=$(PREFIX) integration/install $(BIN)

uninstall:
	$(ROOT) env PREFIX=$(PREFIX) integration/uninstall

demo:
	@BIN=$(BIN) MAKE='$(MAKE)' integration/demo $(DEMO_PACKAGES)

packages:
	$(ROOT) integration/packages $(TEST_PACKAGES)

prepare: packages install
	$(ROOT) env MIRROR=$(MIRROR) integration/prepare

# Takes back what prepare and the tests have made.
unprepare:
	$(ROOT) env PREFIX=$(PREFIX) MAYFLY_CACHE="$(MAYFLY_CACHE)" integration/unprepare

# What repeats something for the sake of chance has a short form here.
test: prepare check versions
	$(MAKE) test-here

# Everything, in its long form. It takes hours.
test-long: prepare check versions
	$(MAKE) test-here test-overlay MAYFLY_LONG=yes
	$(MAKE) test-machines

AS_ROOT := $(ROOT) env PATH="$$PATH" MAYFLY_INTEGRATION=1 MAYFLY_CACHE="$(MAYFLY_CACHE)" MAYFLY_LONG="$(MAYFLY_LONG)"

# Package by package: what each is about, and how long it takes. TESTS=launch chooses some.
test-here:
	@$(AS_ROOT) MAYFLY_PACKAGES="$(TESTS)" integration/each here

# Machines of their own: the package, systemd, power cuts. They are emulated, which takes long.
test-machines: prepare deb
	@$(AS_ROOT) integration/each machines

# The attack suite on the overlay store, which takes as long as on BTRFS.
test-overlay: prepare
	@$(AS_ROOT) integration/each overlay

# All integration tests in virtual machines, with the kernels and the systemd of several distributions, and thirty power cuts. As many
# machines run at once as there are processors, each in 3 GiB of memory.
# In an emulated machine that takes hours; PLATFORMS, TESTS (packages) and RUN (tests), both regular expressions, choose some.
# The results so far are in bin/platforms.
PLATFORMS := bullseye jammy bookworm trixie
vm-test: prepare deb
	rm -rf bin/platforms && mkdir bin/platforms
	$(AS_ROOT) MAYFLY_PLATFORMS="$(PLATFORMS)" MAYFLY_PACKAGES="$(TESTS)" MAYFLY_RUN="$(RUN)" MAYFLY_POWER_CUTS=$(CUTS) \
		MAYFLY_VERSION="$(VERSION)" MAYFLY_RESULTS="$(CURDIR)/bin/platforms" go test -count=1 -v -timeout 0 ./integration/vm
CUTS := 30
TESTS :=
RUN :=

# Everything that needs neither root nor an image; gcc, nftables and user namespaces it takes.
check:
	test -z "$$(gofmt -l .)"
	CGO_ENABLED=0 go build ./...
	CGO_ENABLED=0 GOARCH=arm64 go build ./...
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	CGO_ENABLED=1 go test -race $$(go list ./... | grep -v /integration)
	$(MAKE) -s vulnerabilities

# The versions of successive commits are in the order of dpkg.
versions:
	.ci/versions

# Known holes in what is linked in. The list of them is on the network: where that cannot be
# had, it is said and is no failure; a hole is (exit status 3).
vulnerabilities:
	@GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@v1.9.0 && bin/govulncheck ./... || \
	{ code=$$?; [ $$code != 3 ] && echo "govulncheck: no list of vulnerabilities to be had here" || exit $$code; }

bench: prepare
	$(ROOT) env PATH="$$PATH" integration/bench/run

# The terminal session that README shows: a real one.
picture: prepare
	$(ROOT) useradd --create-home --shell /bin/bash developer1
	$(ROOT) env PATH="$$PATH" unshare --uts sh -c 'hostname buildhost; exec go run ./integration/picture developer1' > bin/session.svg; \
	code=$$?; $(ROOT) userdel --remove developer1 2>/dev/null; [ $$code = 0 ] && cp bin/session.svg docs/session.svg

clean:
	rm -rf bin
