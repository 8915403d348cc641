{{/* Names: 63 characters at most, because a label and a Service take no more. */}}
{{- define "hookline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "hookline.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "hookline.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hookline.serviceAccountName" -}}
{{- default (include "hookline.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{/* What selects the pod: it can't change while a release lives, so nothing that a value or a version changes is here. */}}
{{- define "hookline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hookline.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels that all objects have; others of these names are refused (requirements.yaml). */}}
{{- define "hookline.standardLabels" -}}
{{- toYaml (dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "hookline.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "hookline"
  "app.kubernetes.io/managed-by" .Release.Service) }}
{{- end }}

{{- define "hookline.labels" -}}
{{- toYaml (merge (include "hookline.standardLabels" . | fromYaml) (default dict .Values.commonLabels)) }}
{{- end }}

{{/* metadata of an object in the release's namespace; call it with (list $ name). */}}
{{- define "hookline.metadata" -}}
name: {{ index . 1 | quote }}
namespace: {{ (index . 0).Release.Namespace | quote }}
labels:
  {{- include "hookline.labels" (index . 0) | nindent 2 }}
{{- end }}

{{- define "hookline.image" -}}
{{- $image := .Values.image }}
{{- if $image.registry }}{{ $image.registry }}/{{ end }}
{{- $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- if $image.digest }}@{{ $image.digest }}{{ end }}
{{- end }}

{{/* The settings as environment. A number is written by toJson, because Helm would write 268435456 as 2.68435456e+08. */}}
{{- define "hookline.settings" -}}
{{- range $key, $value := .Values.settings }}
{{- $variable := printf "HOOKLINE_%s" (snakecase $key | upper) }}
{{- if kindIs "slice" $value }}
{{- if $value }}
{{ $variable }}: {{ join "," $value | quote }}
{{- end }}
{{- else if kindIs "string" $value }}
{{- if $value }}
{{ $variable }}: {{ $value | quote }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{ $variable }}: {{ toJson $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings that other values decide. */}}
{{- define "hookline.environment" -}}
HOOKLINE_DATA_DIR: /var/lib/hookline
HOOKLINE_LISTEN_PORT: {{ .Values.service.port | quote }}
HOOKLINE_LEASE_NAME: {{ include "hookline.fullname" . | quote }}
HOOKLINE_API_PORT: {{ .Values.api.enabled | ternary .Values.api.port 0 | quote }}
{{- if include "hookline.apiTls" . }}
HOOKLINE_API_TLS_CERT_FILE: /etc/hookline/api-tls/tls.crt
HOOKLINE_API_TLS_KEY_FILE: /etc/hookline/api-tls/tls.key
{{- end }}
{{- with .Values.namespaces }}
HOOKLINE_NAMESPACES: {{ join "," . | quote }}
{{- end }}
{{- include "hookline.settings" . }}
{{- end }}

{{/* "true" where the API for deliveries is served with a certificate, and so to others than the pod itself. */}}
{{- define "hookline.apiTls" -}}
{{- if and .Values.api.enabled .Values.api.tls.secretName }}true{{ end }}
{{- end }}

{{/* A number among the settings, as the operator will have it; call it with (list $ key). */}}
{{- define "hookline.number" -}}
{{- $said := get (index . 0).Values.settings (index . 1) }}
{{- if has (toString $said) (list "" "<nil>") }}
{{- $said = get ((index . 0).Files.Get "files/settings.yaml" | fromYaml) (index . 1) | dig "default" 0 }}
{{- end }}
{{- float64 $said | toJson }}
{{- end }}

{{/* How long attempts may go on after SIGTERM, in whole seconds. */}}
{{- define "hookline.shutdownGrace" -}}
{{- include "hookline.number" (list . "shutdownGraceSeconds") | float64 | ceil | int }}
{{- end }}

{{/*
Why a text is no range of addresses, as Python's ipaddress has it; empty where it is one. Its form is seen to by
values.schema.json: digits, colons, points. Each part of the address must fit, and no bit be set after the prefix.
*/}}
{{- define "hookline.rangeFault" -}}
{{- $address := regexReplaceAll "/.*" . "" }}
{{- $v6 := contains ":" $address }}
{{- $width := $v6 | ternary 16 8 }}
{{- $all := $v6 | ternary 128 32 }}
{{- $length := contains "/" . | ternary (regexReplaceAll ".*/" . "") (toString $all) | int }}
{{- $parts := list }}
{{- $fault := "" }}
{{- if $v6 }}
{{- $halves := splitList "::" $address }}
{{- range $i, $half := $halves }}
{{- if $i }}
{{- $known := without (splitList ":" (join ":" $halves)) "" | len }}
{{- range until (max 0 (sub 8 $known) | int) }}{{ $parts = append $parts "0" }}{{ end }}
{{- if gt $known 7 }}{{ $fault = "it has too many parts" }}{{ end }}
{{- end }}
{{- if $half }}{{ $parts = concat $parts (splitList ":" $half) }}{{ end }}
{{- end }}
{{- if gt (len $halves) 2 }}{{ $fault = "it has more than one ::" }}{{ end }}
{{- else }}
{{- $parts = splitList "." $address }}
{{- end }}
{{- $form := $v6 | ternary "^[0-9A-Fa-f]{1,4}$" "^(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$" }}
{{- if ne (mul (len $parts) $width | int) $all }}{{ $fault = default "it has not the right number of parts" $fault }}{{ end }}
{{- if gt $length $all }}{{ $fault = default (printf "its prefix is longer than %d bits" $all) $fault }}{{ end }}
{{- range $i, $part := $parts }}
{{- if not (regexMatch $form $part) }}
{{- $fault = default (printf "%q is no part of an address" $part) $fault }}
{{- else if not $fault }}
{{- $free := max 0 (min $width (sub (mul $width (add1 $i)) $length)) | int }}
{{- $power := index (list 1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536) $free }}
{{- if mod ($v6 | ternary (printf "0x%s" $part) $part | int64) $power }}
{{- $fault = printf "bits are set after the first %d" $length }}
{{- end }}
{{- end }}
{{- end }}
{{- $fault }}
{{- end }}

{{- define "hookline.terminationGrace" -}}
{{- $seconds := .Values.terminationGracePeriodSeconds }}
{{- if has (toString $seconds) (list "" "<nil>") }}
{{- max 30 (add (include "hookline.shutdownGrace" . | int) 15) }}
{{- else }}
{{- int $seconds }}
{{- end }}
{{- end }}

{{/* "true" where the NetworkPolicy lets a TCP port out, be it to some peers only; call it with (list $ port). */}}
{{- define "hookline.letsOut" -}}
{{- $port := index . 1 | toString }}
{{- $found := false }}
{{- with (index . 0).Values.networkPolicy }}
{{- if not .enabled }}{{ $found = true }}{{ end }}
{{- range .deliveries.ports }}
{{- if eq (toString .) $port }}{{ $found = true }}{{ end }}
{{- end }}
{{- range .extraEgress }}
{{- if not .ports }}{{ $found = true }}{{ end }}
{{- range .ports }}
{{- if eq (default "" .port | toString) $port }}{{ $found = true }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if $found }}true{{ end }}
{{- end }}

{{/* "true" where objects of the Prometheus operator are rendered. */}}
{{- define "hookline.monitoringApi" -}}
{{- if or (eq .Values.monitoring.whenMissing "Always") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}true{{ end }}
{{- end }}

{{/* By which labels the alerts find the series of this release: those that its monitors give. */}}
{{- define "hookline.selector" -}}
{{- default (printf "namespace=%q, job=%q" .Release.Namespace .Release.Name) .Values.monitoring.prometheusRule.selector }}
{{- end }}

{{/* Bytes of persistence.size, whose form values.schema.json sees to. */}}
{{- define "hookline.volumeBytes" -}}
{{- $size := toString .Values.persistence.size }}
{{- $number := regexFind "^[0-9.]+" $size }}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- mulf (float64 $number) (get $factors (trimPrefix $number $size)) | floor | printf "%.0f" }}
{{- end }}

{{/* From how many bytes on the outbox is nearly full, where no threshold says it: 80 % of the volume. */}}
{{- define "hookline.outboxThreshold" -}}
{{- mulf (include "hookline.volumeBytes" . | float64) 0.8 | floor | printf "%.0f" }}
{{- end }}
