{{- define "countersign.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name is left out where it says no more than the chart's. */}}
{{- define "countersign.fullname" -}}
{{- $name := include "countersign.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ include "countersign.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of (dict "root" $ "more" labels): the chart's own labels cannot be replaced. */}}
{{- define "countersign.labelsWith" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "countersign.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- toYaml (merge $own .more .root.Values.commonLabels) -}}
{{- end -}}

{{- define "countersign.labels" -}}
{{- include "countersign.labelsWith" (dict "root" . "more" dict) -}}
{{- end -}}

{{- define "countersign.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "countersign.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: the account to use has to be named where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "countersign.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "countersign.configMap" -}}
{{- default (printf "%s-config" (include "countersign.fullname" .)) .Values.existingConfigMap -}}
{{- end -}}

{{- define "countersign.lease" -}}
{{- default (include "countersign.fullname" .) .Values.lease.name -}}
{{- end -}}

{{/* Whether something is on: as the values say, or with "auto" as `policy` needs it, which is not known of another ConfigMap. */}}
{{- define "countersign.isOn" -}}
{{- if eq (toString .value) "auto" -}}
{{- if .needed }}true{{ end -}}
{{- else if .value }}true{{ end -}}
{{- end -}}

{{- define "countersign.machines" -}}
{{- $needed := false -}}
{{- if not (or .Values.existingConfigMap .Values.machineKubeconfig.secretName) -}}
{{- range .Values.policy.rules -}}
{{- if has "machine" (dig "identity" "sources" list .) }}{{ $needed = true }}{{ end -}}
{{- end -}}
{{- end -}}
{{- include "countersign.isOn" (dict "value" .Values.rbac.machines "needed" $needed) -}}
{{- end -}}

{{- define "countersign.loadBalancers" -}}
{{- $needed := and (not .Values.existingConfigMap) (dig "protected" "loadBalancers" false .Values.policy) -}}
{{- include "countersign.isOn" (dict "value" .Values.rbac.loadBalancers "needed" $needed) -}}
{{- end -}}

{{- define "countersign.answer" -}}
{{- $needed := or .Values.existingConfigMap (ne (dig "mode" "enforce" .Values.policy) "audit") -}}
{{- include "countersign.isOn" (dict "value" .Values.rbac.answer "needed" $needed) -}}
{{- end -}}

{{/* What the schema cannot see. */}}
{{- define "countersign.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.lease.enabled) -}}
{{- fail (printf "replicas: %d of them need a leader, and lease.enabled is false" (int .Values.replicas)) -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics: serviceMonitor and podMonitor are both enabled, and everything would be counted twice; choose one" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "metrics.serviceMonitor: it scrapes the Service, and service.enabled is false" -}}
{{- end -}}
{{- if and .Values.inventory.nodes (not .Values.inventory.enabled) -}}
{{- fail "inventory.nodes: has nodes, and inventory.enabled is false" -}}
{{- end -}}
{{- if and (not .Values.existingConfigMap) (not .Values.inventory.enabled) -}}
{{- range .Values.policy.rules -}}
{{- if has "inventory" (dig "identity" "sources" list .) -}}
{{- fail (printf "policy: rule %q has the source inventory, and inventory.enabled is false" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
