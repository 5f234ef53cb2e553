package main

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addAddresses gives the loopback interface further addresses, one for each node: a kubelet refuses a loopback address as its own.
func addAddresses() int {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fail("address", err)
	}
	for _, text := range os.Args[1:] {
		network, err := netlink.ParseIPNet(text)
		if err != nil {
			return fail("address", err)
		}
		// Duplicate address detection would leave an IPv6 address unusable for a second.
		address := netlink.Addr{IPNet: network, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrReplace(loopback, &address); err != nil {
			return fail("address", fmt.Errorf("add %s to lo: %w", text, err))
		}
	}
	return 0
}

func raiseLoopback() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(loopback)
}
