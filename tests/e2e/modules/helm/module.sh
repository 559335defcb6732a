programs=(helm)
packages=(helm.sh/helm/v4/cmd/helm)
ldflags="-X helm.sh/helm/v4/internal/version.version=$(required helm.sh/helm/v4)"
