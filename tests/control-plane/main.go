// Command control-plane is a Kubernetes cluster for tests in one binary: etcd, the API server, the controller manager, kubectl
// and a kubelet without containers, so that nothing but a Go toolchain is needed to run them and all of them share one link.
package main

import (
	"fmt"
	"os"
	"slices"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// Each program takes its arguments from os.Args, with its own name in front, as if it had been started by itself.
var programs = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kubectl":                 runKubectl,
	"kubelet":                 runKubelet,
	"address":                 addAddresses,
	"read-requests":           runReadRequests,
	"sandbox":                 runSandbox,
	sandboxInit:               runSandboxInit,
	"pod":                     runPod,
	podInit:                   runPodInit,
	"version":                 func() int { fmt.Println(version.Get().GitVersion); return 0 },
}

func main() {
	if len(os.Args) > 1 {
		if run, found := programs[os.Args[1]]; found {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	var names []string
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: control-plane PROGRAM ARGUMENT...\nprograms: %v\n", names)
	os.Exit(2)
}

func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

// fail prints an error of one of our own programs and gives the exit code for it.
func fail(program string, err error) int {
	fmt.Fprintf(os.Stderr, "control-plane %s: %v\n", program, err)
	return 1
}
