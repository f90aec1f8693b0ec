{{- define "mcp-ilert.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Room is left for what is appended: "-headless", and the pod's number. */ -}}
{{- define "mcp-ilert.fullname" -}}
{{- $name := include "mcp-ilert.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mcp-ilert.selector" -}}
app.kubernetes.io/name: {{ include "mcp-ilert.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: bridge
{{- end -}}

{{- define "mcp-ilert.common" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "mcp-ilert.labels" -}}
{{ include "mcp-ilert.selector" . }}
{{ include "mcp-ilert.common" . }}
{{- end -}}

{{- define "mcp-ilert.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mcp-ilert.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mcp-ilert.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The configuration with what the chart sets of it. Everything else asks it, not the values, so that there is one truth. */ -}}
{{- define "mcp-ilert.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "spool" (merge (dict "path" "/var/lib/mcp-ilert/spool.db") (default dict $config.spool)) -}}
{{- $ilert := default dict $config.ilert -}}
{{- $secret := .Values.secret -}}
{{- if $secret.existingSecret -}}
{{- range $key, $file := dict "webhook_key" $secret.webhookKey "api_key" $secret.apiKey "heartbeat_url" $secret.heartbeatUrl -}}
{{- if and $file (not (get $ilert $key)) (not (get $ilert (printf "%s_file" $key))) -}}
{{- $_ := set $ilert (printf "%s_file" $key) (printf "%s/%s" $secret.mountPath $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (or $ilert.webhook_key $ilert.webhook_key_file $ilert.api_key $ilert.api_key_file) -}}
{{- fail "no key for iLert: name a Secret (secret.existingSecret with secret.webhookKey), a file (config.ilert.webhook_key_file), or a variable (config.ilert.webhook_key: ${NAME}, NAME in extraEnv)" -}}
{{- end -}}
{{- $_ := set $config "ilert" $ilert -}}
{{- $tls := default dict $config.tls -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $tls "cert_file" "/run/secrets/mcp-ilert-tls/tls.crt" -}}
{{- $_ := set $tls "key_file" "/run/secrets/mcp-ilert-tls/tls.key" -}}
{{- end -}}
{{- if .Values.tls.clientCASecret -}}
{{- if not .Values.tls.existingSecret -}}
{{- fail "tls.clientCASecret needs tls.existingSecret: client certificates are asked for in a TLS handshake only" -}}
{{- end -}}
{{- $_ := set $tls "client_ca_file" (printf "/run/secrets/mcp-ilert-clients/%s" .Values.tls.clientCAKey) -}}
{{- end -}}
{{- if $tls -}}{{- $_ := set $config "tls" $tls -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* Seconds from SIGTERM to SIGKILL: beyond what the bridge takes by its own configuration. */ -}}
{{- define "mcp-ilert.terminationGracePeriodSeconds" -}}
{{- $config := include "mcp-ilert.config" . | fromYaml -}}
{{- $own := addf (default 0 (dig "listen" "drain_seconds" 0 $config)) (dig "delivery" "shutdown_grace_seconds" 8 $config) | ceil | int64 -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add $own 10 -}}
{{- else -}}
{{- if le (int64 .Values.terminationGracePeriodSeconds) $own -}}
{{- fail (printf "terminationGracePeriodSeconds: must be above %d, which config.listen.drain_seconds and config.delivery.shutdown_grace_seconds take together" $own) -}}
{{- end -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "mcp-ilert.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "mcp-ilert.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What the bridge and `helm test` see alike: configuration, secrets, certificates. */ -}}
{{- define "mcp-ilert.mounts" -}}
- {name: config, mountPath: /etc/mcp-ilert, readOnly: true}
{{- if .Values.secret.existingSecret }}
- {name: secrets, mountPath: {{ .Values.secret.mountPath | quote }}, readOnly: true}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /run/secrets/mcp-ilert-tls, readOnly: true}
{{- end }}
{{- if .Values.tls.clientCASecret }}
- {name: clients, mountPath: /run/secrets/mcp-ilert-clients, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mcp-ilert.volumes" -}}
- name: config
  configMap: {name: {{ include "mcp-ilert.fullname" . }}}
{{- with .Values.secret.existingSecret }}
- name: secrets
  secret: {secretName: {{ . | quote }}, defaultMode: 288}  # 0440
{{- end }}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 288}  # 0440
{{- end }}
{{- with .Values.tls.clientCASecret }}
- name: clients
  secret: {secretName: {{ . | quote }}, defaultMode: 288}  # 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mcp-ilert.env" -}}
{{- with .Values.extraEnv -}}
env:
  {{- toYaml . | nindent 2 }}
{{ end }}
{{- with .Values.extraEnvFrom -}}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* iLert's port from its URL. */ -}}
{{- define "mcp-ilert.apiPort" -}}
{{- $url := urlParse (dig "ilert" "api_url" "https://api.ilert.com" .) -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- if $port -}}{{ $port }}{{- else if eq $url.scheme "http" -}}80{{- else -}}443{{- end -}}
{{- end -}}
