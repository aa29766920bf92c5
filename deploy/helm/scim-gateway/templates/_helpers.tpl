{{- define "scim.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "scim.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "scim.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "scim.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "scim.selector" -}}
app.kubernetes.io/name: {{ include "scim.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scim.labels" -}}
{{ include "scim.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "scim.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scim.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "scim.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "scim.secretName" -}}
{{- .Values.secrets.existingSecret | default (include "scim.fullname" .) -}}
{{- end -}}

{{/* A value as text. Helm reads a number in a file as a float, and writes a large one as 1e+07. */}}
{{- define "scim.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end -}}

{{/* The names of the settings that come from a Secret, separated by spaces. */}}
{{- define "scim.secretKeys" -}}
{{- if .Values.secrets.existingSecret -}}
{{- sortAlpha .Values.secrets.keys | join " " -}}
{{- else -}}
{{- keys .Values.secrets.values | sortAlpha | join " " -}}
{{- end -}}
{{- end -}}

{{/* "true" when the variable named by the second element is set: as a plain setting, as the file that a
     setting names, or as a secret. The server takes an empty variable for an unset one. */}}
{{- define "scim.has" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- $plain := get $root.Values.settings $name | toString -}}
{{- $file := get $root.Values.settings (printf "%s_FILE" $name) | toString -}}
{{- if or (ne $plain "") (ne $file "") (has $name (splitList " " (include "scim.secretKeys" $root))) -}}
true
{{- end -}}
{{- end -}}

{{/* "true" when the chart is given a value of the variable, and it is an SQLite file. */}}
{{- define "scim.isSqlite" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- $value := get $root.Values.settings $name | default (get $root.Values.secrets.values $name) | default "" -}}
{{- if hasPrefix "sqlite:" (toString $value) -}}true{{- end -}}
{{- end -}}

{{/* "true" when resources are on the volume of the chart: one pod only may write to it. */}}
{{- define "scim.onVolume" -}}
{{- if has .Values.backend (list "embedded" "files") -}}true{{- end -}}
{{- end -}}

{{/* "true" when the server stores events or asynchronous requests. */}}
{{- define "scim.hasState" -}}
{{- $flag := get .Values.settings "SET_POLL_ENABLED" | toString | lower -}}
{{- $polled := not (has $flag (list "" "false" "no" "off" "0")) -}}
{{- $later := not (has (get .Values.settings "ASYNC_REQUEST" | toString | lower) (list "" "none")) -}}
{{- if or $polled $later (include "scim.has" (list . "SET_PUSH_URL")) (include "scim.has" (list . "SET_RECEIVERS")) -}}
true
{{- end -}}
{{- end -}}

{{- define "scim.severalPods" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.web.replicas) 1) .Values.worker.enabled -}}true{{- end -}}
{{- end -}}

{{/* Refuse combinations that would lose data or never become ready. */}}
{{- define "scim.check" -}}
{{- $needs := dict "sql" "DATABASE_URL" "mongodb" "MONGO_DB" "ldap" "LDAP_HOSTNAME" "jumpcloud" "JUMPCLOUD_URL" "forward" "FORWARD_SCIM_URL" "irods" "IRODS_HOST" -}}
{{- $wanted := get $needs .Values.backend -}}
{{- if and $wanted (not (include "scim.has" (list . $wanted))) -}}
{{- fail (printf "backend: %s needs the setting %s (in settings, secrets.values or secrets.keys)" .Values.backend $wanted) -}}
{{- end -}}
{{- range $backend, $name := $needs -}}
{{- if and (ne $backend $.Values.backend) (include "scim.has" (list $ $name)) -}}
{{- fail (printf "%s is set, but backend is %s" $name $.Values.backend) -}}
{{- end -}}
{{- end -}}
{{- if and (include "scim.has" (list . "DATA_PATH")) (ne .Values.backend "files") -}}
{{- fail (printf "DATA_PATH is set, but backend is %s" .Values.backend) -}}
{{- end -}}
{{- if and (include "scim.onVolume" .) (include "scim.severalPods" .) -}}
{{- fail (printf "backend: %s stores resources on a volume that only one pod can use: set web.replicas to 1, autoscaling.enabled and worker.enabled to false, or choose another backend" .Values.backend) -}}
{{- end -}}
{{- if and (include "scim.severalPods" .) (ne .Values.backend "sql") (not (include "scim.has" (list . "STATE_DATABASE_URL"))) -}}
{{- fail (printf "with backend: %s, several pods need a common state database for events and asynchronous requests: set STATE_DATABASE_URL" .Values.backend) -}}
{{- end -}}
{{- if and (has .Values.backend (list "sql" "embedded")) (include "scim.has" (list . "STATE_DATABASE_URL")) -}}
{{- fail (printf "STATE_DATABASE_URL is set, but backend: %s stores events and asynchronous requests with the resources; remove it" .Values.backend) -}}
{{- end -}}
{{- if and (not (include "scim.onVolume" .)) (ne .Values.backend "sql") (include "scim.hasState" .) (not (include "scim.has" (list . "STATE_DATABASE_URL"))) -}}
{{- fail (printf "with backend: %s, events and asynchronous requests would be lost with the pod: set STATE_DATABASE_URL" .Values.backend) -}}
{{- end -}}
{{- if and (include "scim.has" (list . "FIRST_TOKEN")) (not (include "scim.onVolume" .)) (ne .Values.backend "sql") (not (include "scim.has" (list . "STATE_DATABASE_URL"))) -}}
{{- fail (printf "with backend: %s, tokens would be lost with the pod: set STATE_DATABASE_URL for FIRST_TOKEN" .Values.backend) -}}
{{- end -}}
{{- if and (include "scim.severalPods" .) (include "scim.isSqlite" (list . "STATE_DATABASE_URL")) -}}
{{- fail "several pods cannot share the SQLite file in STATE_DATABASE_URL: name a database server" -}}
{{- end -}}
{{- if and (eq .Values.backend "sql") (include "scim.isSqlite" (list . "DATABASE_URL")) -}}
{{- fail "DATABASE_URL is an SQLite file, which is lost with its pod: set backend to embedded, which has a volume" -}}
{{- end -}}
{{- if and .Values.celery.enabled (not .Values.worker.enabled) -}}
{{- fail "celery.enabled needs worker.enabled" -}}
{{- end -}}
{{- if and .Values.celery.enabled (not (include "scim.has" (list . "CELERY_BROKER_URL"))) -}}
{{- fail "celery.enabled needs the setting CELERY_BROKER_URL" -}}
{{- end -}}
{{- if lt (int .Values.web.terminationGracePeriodSeconds) (add (int .Values.web.preStopSeconds) 25 | int) -}}
{{- fail (printf "web.terminationGracePeriodSeconds must be at least web.preStopSeconds plus 25 (%d): requests in flight may take 20 seconds" (add (int .Values.web.preStopSeconds) 25)) -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs" -}}
{{- end -}}
{{- range $name := list "PORT" "WORKERS" "THREADS" "EMBEDDED_WORKER" -}}
{{- if hasKey $.Values.settings $name -}}
{{- fail (printf "settings.%s: the chart sets this variable; remove it" $name) -}}
{{- end -}}
{{- end -}}
{{- with .Values.secrets -}}
{{- if and .existingSecret .values -}}
{{- fail "secrets.existingSecret and secrets.values are both set: move the values to that Secret, and name them in secrets.keys" -}}
{{- end -}}
{{- if and .existingSecret (not .keys) -}}
{{- fail "secrets.existingSecret needs secrets.keys: the settings that the Secret contains" -}}
{{- end -}}
{{- if and .keys (not .existingSecret) -}}
{{- fail "secrets.keys needs secrets.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.secrets.values -}}
{{- if not $value -}}
{{- fail (printf "secrets.values.%s is empty" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not (has "API_KEY" (splitList " " (include "scim.secretKeys" .)))) -}}
{{- fail "serviceMonitor.enabled needs API_KEY among the secrets, because /metrics requires the key" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- range $name := list "API_KEY" "AUDIT_EXPORT_TOKEN" "FIRST_TOKEN" "FORWARD_SCIM_KEY" "IRODS_ADMIN_PASSWORD" "JUMPCLOUD_KEY" "LDAP_PASSWORD" "SCIM_FORWARD_KEY" "SECRET_KEYS" "SET_PUSH_TOKEN" "SET_RECEIVERS" "SET_SIGNING_SECRET" -}}
{{- if hasKey $.Values.settings $name -}}
{{- fail (printf "settings.%s is a secret, and settings are readable: move it to secrets" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if regexMatch "^[a-z0-9+]+://[^/@]*:[^/]*@" (toString $value) -}}
{{- fail (printf "settings.%s contains a password, and settings are readable: move it to secrets" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name := splitList " " (include "scim.secretKeys" .) -}}
{{- if hasKey $.Values.settings $name -}}
{{- fail (printf "%s is both in settings and among the secrets; remove one" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where the pods of a component run: web, or worker. */}}
{{- define "scim.scheduling" -}}
{{- range $name := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $ $name }}
{{ $name }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "scim.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.podSecurityContext.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
{{- end }}
{{- with .Values.podSecurityContext.fsGroup }}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "scim.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The variables of every container that are not secret. */}}
{{- define "scim.settings" -}}
{{- if not (hasKey .Values.settings "HOST") }}
HOST: "0.0.0.0"
{{- end }}
PORT: "8000"
WORKERS: {{ .Values.web.workers | quote }}
THREADS: {{ .Values.web.threads | quote }}
EMBEDDED_WORKER: {{ not .Values.worker.enabled | quote }}
{{- if and (eq .Values.backend "files") (not (hasKey .Values.settings "DATA_PATH")) }}
DATA_PATH: /var/lib/scim/data
{{- end }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ include "scim.text" $value | quote }}
{{- end }}
{{- end -}}

{{/* The environment that every container of the server has. */}}
{{- define "scim.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "scim.fullname" . }}
{{- $keys := include "scim.secretKeys" . }}
{{- if $keys }}
env:
{{- range $name := splitList " " $keys }}
  - name: {{ $name }}_FILE
    value: {{ printf "%s/%s" $.Values.secrets.mountPath $name | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "scim.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: data
  mountPath: /var/lib/scim
{{- if include "scim.secretKeys" . }}
- name: secrets
  mountPath: {{ .Values.secrets.mountPath }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "scim.volumes" -}}
- name: tmp
  emptyDir: {}
{{- $keys := include "scim.secretKeys" . }}
{{- if $keys }}
- name: secrets
  secret:
    secretName: {{ include "scim.secretName" . }}
    defaultMode: 0440
    items:
    {{- range $name := splitList " " $keys }}
      - key: {{ $name }}
        path: {{ $name }}
    {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Changed settings replace the pods. A Secret made elsewhere is not seen here. */}}
{{- define "scim.checksums" -}}
checksum/settings: {{ include "scim.settings" . | sha256sum }}
checksum/secrets: {{ toJson .Values.secrets | sha256sum }}
{{- end -}}
