{{- define "synckairos.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name }}
{{- if contains .Chart.Name .Release.Name }}{{ $name = .Release.Name }}{{ end }}
{{- $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "synckairos.selector" -}}
app.kubernetes.io/name: synckairos
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "synckairos.labels" -}}
{{ include "synckairos.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "synckairos.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Whether pods share an archive on a volume of this chart. */}}
{{- define "synckairos.archiveOnVolume" -}}
{{- if not .Values.archive.url }}true{{ end }}
{{- end }}

{{- define "synckairos.podSecurity" -}}
automountServiceAccountToken: false
# Kubernetes would set SYNCKAIROS_PORT=tcp://… for a Service with the name synckairos.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "synckairos.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "synckairos.environment" -}}
envFrom:
  - secretRef: {name: {{ .Values.existingSecret }}}
env:
  {{- range $name, $value := .Values.config }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- if .Values.valkey.enabled }}
  - name: REDIS_URL
    value: redis://{{ include "synckairos.name" . }}-valkey:6379/0
  {{- end }}
  {{- if .Values.postgres.enabled }}
  - name: PGPASSWORD
    valueFrom:
      secretKeyRef: {name: {{ .Values.existingSecret }}, key: POSTGRES_PASSWORD}
  - name: DATABASE_URL
    value: postgresql://synckairos@{{ include "synckairos.name" . }}-postgres:5432/synckairos
  {{- end }}
  - name: SYNCKAIROS_ARCHIVE_URL
    value: {{ .Values.archive.url | default "/var/lib/synckairos/archive" | quote }}
{{- end }}

{{- define "synckairos.volumeMounts" -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if include "synckairos.archiveOnVolume" . }}
  - {name: archive, mountPath: /var/lib/synckairos}
  {{- end }}
{{- end }}

{{- define "synckairos.volumes" -}}
volumes:
  - name: tmp
    emptyDir: {}
  {{- if include "synckairos.archiveOnVolume" . }}
  - name: archive
    persistentVolumeClaim: {claimName: {{ include "synckairos.name" . }}-archive}
  {{- end }}
{{- end }}

{{- define "synckairos.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
