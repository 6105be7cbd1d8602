package btrfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/sys/unix"
)

// The stream of btrfs-send(8), version 1 (fs/btrfs/send.h): a header, then commands. A
// command is its length, its type and a checksum, then attributes. An attribute is its
// type, its length and its value.
const (
	streamMagic   = "btrfs-stream\x00"
	streamHeader  = len(streamMagic) + 4
	commandHeader = 10

	cmdUtimes = 20
	cmdEnd    = 21

	attrCtime = 9
	attrMtime = 10
	attrAtime = 11
	attrPath  = 15

	// maxCommand bounds a command, in bytes. None is as long: a write carries at most
	// 48 KiB.
	maxCommand = 1 << 20
)

// CopyStream copies a stream that btrfs-send(8) writes of one subvolume, and adds a
// command before its end that sets the times of the subvolume's top directory to those
// in top.
//
// Without that the directory is modified at the time at which the stream is received:
// the stream makes each file under a passing name in that directory and renames it to
// its place; where there are many directories, the kernel sends the times of the top
// one before the last of these (seen on Linux 6.18).
//
// The stream may be hostile: CopyStream holds one command at a time, and refuses one
// that is too long. It concerns no thread.
func CopyStream(w io.Writer, r io.Reader, top unix.Stat_t) error {
	in := bufio.NewReaderSize(r, 128<<10)
	header := make([]byte, streamHeader, commandHeader+maxCommand)
	if _, err := io.ReadFull(in, header); err != nil || string(header[:len(streamMagic)]) != streamMagic {
		return errors.Join(errors.New("not a stream of btrfs-send(8)"), err)
	}
	if version := binary.LittleEndian.Uint32(header[len(streamMagic):]); version != 1 {
		return fmt.Errorf("a stream of version %d, want 1", version)
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for {
		command := header[:commandHeader]
		if _, err := io.ReadFull(in, command); err != nil {
			return fmt.Errorf("the stream is cut off: %w", err)
		}
		length := binary.LittleEndian.Uint32(command)
		if length > maxCommand {
			return fmt.Errorf("a command of %d bytes in the stream", length)
		}
		command = command[:commandHeader+int(length)]
		if _, err := io.ReadFull(in, command[commandHeader:]); err != nil {
			return fmt.Errorf("the stream is cut off: %w", err)
		}
		end := binary.LittleEndian.Uint16(command[4:]) == cmdEnd
		if end {
			if _, err := w.Write(utimes(top)); err != nil {
				return err
			}
		}
		if _, err := w.Write(command); err != nil {
			return err
		}
		if end {
			return nil
		}
	}
}

// utimes is the command that sets the times of the top directory.
func utimes(top unix.Stat_t) []byte {
	command := make([]byte, commandHeader)
	attribute := func(kind uint16, value []byte) {
		command = binary.LittleEndian.AppendUint16(command, kind)
		command = binary.LittleEndian.AppendUint16(command, uint16(len(value)))
		command = append(command, value...)
	}
	attribute(attrPath, nil)
	for _, one := range []struct {
		kind uint16
		time unix.Timespec
	}{{attrAtime, top.Atim}, {attrMtime, top.Mtim}, {attrCtime, top.Ctim}} {
		value := binary.LittleEndian.AppendUint64(nil, uint64(one.time.Sec))
		attribute(one.kind, binary.LittleEndian.AppendUint32(value, uint32(one.time.Nsec)))
	}
	binary.LittleEndian.PutUint32(command, uint32(len(command)-commandHeader))
	binary.LittleEndian.PutUint16(command[4:], cmdUtimes)
	// The kernel's crc32c begins with 0 and inverts nothing; Go's inverts before and
	// after.
	binary.LittleEndian.PutUint32(command[6:], ^crc32.Update(^uint32(0), crc32.MakeTable(crc32.Castagnoli), command))
	return command
}
