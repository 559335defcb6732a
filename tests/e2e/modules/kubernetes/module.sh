# What cluster.sh builds from this module, and how.
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
packages=()
for program in "${programs[@]}"; do packages+=("k8s.io/kubernetes/cmd/$program"); done
version=$(required k8s.io/kubernetes)
minor=${version#v1.} minor=${minor%%.*}
component=k8s.io/component-base/version
# Without these the programs call themselves v0.0.0, and kubectl and clients refuse or warn.
ldflags="-X $component.gitVersion=$version -X $component.gitMajor=1 -X $component.gitMinor=$minor -X $component.gitCommit=unknown -X $component.gitTreeState=clean"
