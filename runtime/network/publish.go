package network

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// Published are the listening sockets of published ports, in the supervisor's process.
// They are opened with the caller's own rights, so the caller can publish only ports
// that they may bind. Connections are copied byte by byte, so no rule of the host's
// firewall changes.
type Published struct {
	ports     []address.Port
	listeners []*os.File // of the ports, in order
	working   sync.WaitGroup

	mu    sync.Mutex
	open  map[*os.File]bool // open connections
	ended bool
}

// Publish listens at the host's ports, on all addresses of IPv4. The thread must have
// the caller's own rights. The caller must Stop the result.
func Publish(list []address.Port) (*Published, error) {
	p := &Published{ports: list, open: map[*os.File]bool{}}
	for _, port := range list {
		listener, err := listenAt(port.Host)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--publish %d:%d: %w", port.Host, port.Container, err), p.Stop())
		}
		p.listeners = append(p.listeners, listener)
	}
	return p, nil
}

func listenAt(port uint16) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("port %d of the host: %w", port, err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// Serve copies connections to the container at an address, on its own goroutines, until
// Stop.
func (p *Published) Serve(to address.Address) {
	for i, listener := range p.listeners {
		p.working.Go(func() {
			for {
				c, err := accept(listener)
				if err != nil {
					return
				}
				if p.add(c) {
					p.working.Go(func() { p.pass(c, to, p.ports[i].Container) })
				}
			}
		})
	}
}

// accept waits for a connection, which the caller must close.
func accept(listener *os.File) (*os.File, error) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var problem error
	err = raw.Read(func(l uintptr) bool {
		for {
			fd, _, problem = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if problem != unix.EINTR && problem != unix.ECONNABORTED {
				return problem != unix.EAGAIN
			}
		}
	})
	if err := errors.Join(err, problem); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// maxConnections bounds how many sockets are open at a time, for all ports of a
// container. A connection takes two.
const maxConnections = 256

// add registers an open connection, or closes it if there are too many or Stop was
// called.
func (p *Published) add(c *os.File) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || len(p.open) >= maxConnections {
		_ = c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *Published) remove(c *os.File) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
	_ = c.Close()
}

// pass copies one connection in both directions until both have ended.
func (p *Published) pass(c *os.File, to address.Address, port uint16) {
	defer p.remove(c)
	inside, err := connect(to, port)
	if err != nil {
		return
	}
	if !p.add(inside) {
		return
	}
	defer p.remove(inside)
	var both sync.WaitGroup
	for _, way := range [][2]*os.File{{c, inside}, {inside, c}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0])
			shutWrite(way[1])
		})
	}
	both.Wait()
}

func shutWrite(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}

// connect connects to a container's port. The caller must close the file.
func connect(to address.Address, port uint16) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "connection")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	begun := false
	var problem error
	err = raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			problem = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(port), Addr: to.Bytes()})
			return problem != unix.EINPROGRESS
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if problem = err; err == nil && code != 0 {
			problem = unix.Errno(code)
		}
		return true
	})
	if err := errors.Join(err, problem); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Stop closes all sockets and waits for the goroutines. The receiver may be nil.
func (p *Published) Stop() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.ended = true
	var errs []error
	for _, l := range p.listeners {
		errs = append(errs, l.Close())
	}
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.working.Wait()
	return errors.Join(errs...)
}
