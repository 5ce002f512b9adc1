{{- define "dropoff.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "dropoff.labels" -}}
app.kubernetes.io/name: dropoff
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The labels by which the pods of a component are found: (dict "root" . "component" "web"). */}}
{{- define "dropoff.selector" -}}
app.kubernetes.io/name: dropoff
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dropoff.queueSecret" -}}
{{- .Values.queuePasswordSecret | default (printf "%s-queue" (include "dropoff.name" .)) -}}
{{- end -}}

{{- define "dropoff.storeSecret" -}}
{{- .Values.storePasswordSecret | default (printf "%s-store" (include "dropoff.name" .)) -}}
{{- end -}}

{{- define "dropoff.queue" -}}
{{- if .Values.nats.enabled -}}
nats://dropoff@{{ include "dropoff.name" . }}-nats:4222/dropoff
{{- else -}}
{{ required "nats.address: nats://USER@HOST:4222/NAME, where nats.enabled is false" .Values.nats.address }}
{{- end -}}
{{- end -}}

{{- define "dropoff.store" -}}
{{- if .Values.clickhouse.enabled -}}
clickhouse://dropoff@{{ include "dropoff.name" . }}-clickhouse:8123/dropoff
{{- else -}}
{{ required "clickhouse.address: clickhouse://USER@HOST:8123/DATABASE, where clickhouse.enabled is false" .Values.clickhouse.address }}
{{- end -}}
{{- end -}}

{{- define "dropoff.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dropoff.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Asked from within: the worker listens on the loopback, and the host of the question is one that is always known. */}}
{{- define "dropoff.probe" -}}
exec:
  command:
    - python
    - -c
    - import urllib.request; urllib.request.urlopen('http://127.0.0.1:{{ .port }}{{ .path }}', timeout=4)
timeoutSeconds: 5
{{- end -}}
