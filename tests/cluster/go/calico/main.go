// The Calico CNI plugin and calico-ipam, chosen by the name they are called by.
package main

import (
	"os"
	"path/filepath"

	"github.com/projectcalico/calico/cni-plugin/pkg/ipamplugin"
	"github.com/projectcalico/calico/cni-plugin/pkg/plugin"
)

func main() {
	if filepath.Base(os.Args[0]) == "calico-ipam" {
		ipamplugin.Main("lab")
		return
	}
	plugin.Main("lab")
}
