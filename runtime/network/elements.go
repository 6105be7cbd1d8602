package network

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// openRules opens a socket by which the rules of the thread's network namespace are
// changed (nfnetlink). What holds for open holds for it. The caller must Close it.
func openRules() (*nl.NetlinkSocket, error) {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER) // to nothing
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	bound := unix.NsecToTimeval(answerWithin.Nanoseconds())
	if err := errors.Join(s.SetSendTimeout(&bound), s.SetReceiveTimeout(&bound)); err != nil {
		s.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return s, nil
}

// changeOwner adds an element to the set of owners (NFT_MSG_NEWSETELEM), or deletes it
// (NFT_MSG_DELSETELEM). To add one that is there is no error. ENOENT says that there is
// no such element, or no such set.
func changeOwner(rules *nl.NetlinkSocket, what int, a address.Address, owner uint32) error {
	batch, asked := ownerBatch(what, a, owner)
	// The kernel takes a batch as one piece. NetlinkSocket.Send sends one message.
	if err := unix.Sendto(rules.GetFd(), batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for {
		messages, from, err := rules.Receive()
		if err != nil {
			return err
		}
		if from.Pid != nl.PidKernel {
			return fmt.Errorf("netlink: an answer of port %d, not the kernel's", from.Pid)
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			if len(m.Data) < 4 {
				return errors.New("netlink: an acknowledgement is cut")
			}
			// Any message of the batch may have an error; one is acknowledged.
			if code := int32(nl.NativeEndian().Uint32(m.Data)); code != 0 {
				return unix.Errno(-code)
			}
			if m.Header.Seq == asked {
				return nil
			}
		}
	}
}

// ownerBatch encodes the change of an element as the kernel wants every change of its
// rules: between a message that begins a batch and one that ends it. The message with
// the sequence number asked is acknowledged, and no other. See
// linux/netfilter/nf_tables.h.
func ownerBatch(what int, a address.Address, owner uint32) (batch []byte, asked uint32) {
	bracket := func(kind int) *nl.NetlinkRequest {
		r := nl.NewNetlinkRequest(kind, 0)
		r.AddData(&nl.Nfgenmsg{ResId: nl.Swap16(unix.NFNL_SUBSYS_NFTABLES)})
		return r
	}
	element := ownerElement(what, a, owner)
	for _, r := range []*nl.NetlinkRequest{bracket(unix.NFNL_MSG_BATCH_BEGIN), element, bracket(unix.NFNL_MSG_BATCH_END)} {
		batch = append(batch, r.Serialize()...)
	}
	return batch, element.Seq
}

// ownerElement is the message about one element, whose key is an address and a uid.
func ownerElement(what int, a address.Address, owner uint32) *nl.NetlinkRequest {
	list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	key := list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil)
	key.AddRtAttr(unix.NFTA_DATA_VALUE, slices.Concat(ipOf(a), nl.Uint32Attr(owner)))

	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|what, unix.NLM_F_CREATE|unix.NLM_F_ACK)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET})
	r.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(nftTable)))
	r.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(nftOwners)))
	r.AddData(list)
	return r
}
