{{/* Prefix of all names. */}}
{{- define "kvass.fullname" -}}
{{- if contains "kvass" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-kvass" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects a component: (list $ "shard"). Never changed, as selectors cannot be. */}}
{{- define "kvass.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: kvass
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of an object: (list $ "shard"). */}}
{{- define "kvass.labels" -}}
{{- $root := index . 0 -}}
{{ include "kvass.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "kvass.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kvass.configMap" -}}
{{ .Values.config.existingConfigMap | default (printf "%s-config" (include "kvass.fullname" .)) }}
{{- end }}

{{/* Whether there is an object store: "true" or nothing. */}}
{{- define "kvass.objectStore" -}}
{{- if .Values.objectStore.existingSecret }}true{{ end }}
{{- end }}

{{/* Whether shards upload to it: "true" or nothing. */}}
{{- define "kvass.uploads" -}}
{{- if and .Values.objectStore.existingSecret .Values.shards.thanos.enabled }}true{{ end }}
{{- end }}

{{/* A service account: (dict "root" $ "component" "shard" "annotations" {} ). */}}
{{- define "kvass.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "kvass.fullname" .root }}-{{ .component }}
  labels:
    {{- include "kvass.labels" (list .root .component) | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: {{ .token | default false }}
{{- end }}

{{/* The part of a pod that is the same everywhere: (dict "root" $ "component" "shard" "values" {…} "token" true). */}}
{{- define "kvass.pod" -}}
serviceAccountName: {{ include "kvass.fullname" .root }}-{{ .component }}
automountServiceAccountToken: {{ .token | default false }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65534
  runAsGroup: 65534
  fsGroup: 65534
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spread over nodes and zones: (list $ "shard" {more labels}). */}}
{{- define "kvass.spread" -}}
{{- $selector := include "kvass.selector" . -}}
{{- $more := index . 2 -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
      {{- range $key, $value := $more }}
      {{ $key }}: {{ $value | quote }}
      {{- end }}
{{- end }}
{{- end }}

{{- define "kvass.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Probes of what serves /-/healthy and /-/ready: the name of its port. Patient, as what is busy answers late. */}}
{{- define "kvass.probes" -}}
livenessProbe:
  httpGet:
    path: /-/healthy
    port: {{ . }}
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /-/ready
    port: {{ . }}
  timeoutSeconds: 5
  periodSeconds: 5
{{- end }}

{{/* A disruption budget: (list $ "shard" "name" {more labels}). */}}
{{- define "kvass.disruptionBudget" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.podDisruptionBudget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 2 }}
  labels:
    {{- include "kvass.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready serves nobody, and must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "kvass.selector" . | nindent 6 }}
      {{- range $key, $value := index . 3 }}
      {{ $key }}: {{ $value | quote }}
      {{- end }}
{{- end }}
{{- end }}

{{/* A volume claim template for the volume `data`. */}}
{{- define "kvass.claim" -}}
- metadata:
    name: data
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .size }}
{{- end }}

{{/* Refuses what cannot work together. */}}
{{- define "kvass.check" -}}
{{- range list "store" "compact" }}
{{- if and (index $.Values .).enabled (not $.Values.objectStore.existingSecret) }}
{{- fail (printf "%s.enabled needs objectStore.existingSecret: the name of a Secret with Thanos' object store configuration" .) }}
{{- end }}
{{- end }}
{{- if and .Values.rule.enabled (not .Values.query.enabled) }}
{{- fail "rule.enabled needs query.enabled: rules are evaluated over Thanos Query" }}
{{- end }}
{{- if and .Values.rule.enabled (not .Values.rule.existingConfigMap) (not .Values.rule.files) }}
{{- fail "rule.enabled needs rule.files or rule.existingConfigMap" }}
{{- end }}
{{- if and .Values.query.enabled (not .Values.shards.thanos.enabled) }}
{{- fail "query.enabled needs shards.thanos.enabled: Thanos Query reads shards through their Thanos sidecars" }}
{{- end }}
{{- if lt (int .Values.coordinator.maxShards) (int .Values.coordinator.minShards) }}
{{- fail (printf "coordinator.maxShards=%d is below coordinator.minShards=%d" (int .Values.coordinator.maxShards) (int .Values.coordinator.minShards)) }}
{{- end }}
{{- end }}
