// The kinds of Prometheus Operator, as it publishes them. Nothing is compiled, and so `go mod tidy` must not be run: it would
// take away the one line that counts.
module countersign.dev/monitoring-crds

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
