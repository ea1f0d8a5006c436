{{/* 52 characters: Kubernetes adds a hash to the name of a StatefulSet for a label, and a label has 63 at most. */}}
{{- define "callward.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "callward.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* A label that the chart sets cannot be replaced: selectors rest on them. Takes the root, and labels to add. */}}
{{- define "callward.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "callward.selector" $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- toYaml (merge $own (index . 1) $root.Values.commonLabels) -}}
{{- end -}}

{{/* Without the chart's version, so that a new chart alone replaces no pod. */}}
{{- define "callward.podLabels" -}}
{{- $own := include "callward.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "callward.serviceAccount" -}}
{{- default (ternary (include "callward.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "callward.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callward.port" -}}
{{- regexFind "[0-9]+$" .Values.config.http.listen -}}
{{- end -}}

{{/* What stands under kafka, webhook and model, as the program's settings. */}}
{{- define "callward.owned" -}}
kafka:
  brokers: {{ .Values.kafka.brokers | quote }}
  static_membership: {{ .Values.kafka.staticMembership }}
  {{- with .Values.kafka }}
  {{- $sasl := ne .auth.mechanism "" }}
  security_protocol: {{ ternary (ternary "sasl_ssl" "sasl_plaintext" .tls.enabled) (ternary "ssl" "plaintext" .tls.enabled) $sasl }}
  {{- if $sasl }}
  sasl_mechanism: {{ .auth.mechanism }}
  sasl_username: {{ .auth.username | quote }}
  sasl_password_file: /etc/callward/secrets/kafka/password
  {{- end }}
  {{- if .tls.enabled }}
  {{- if or .tls.ca.existingSecret .tls.ca.existingConfigMap }}
  ssl_ca_file: /etc/callward/secrets/kafka/ca.crt
  {{- end }}
  {{- if .tls.clientCertificate.existingSecret }}
  ssl_certificate_file: /etc/callward/secrets/kafka/tls.crt
  ssl_key_file: /etc/callward/secrets/kafka/tls.key
  {{- end }}
  {{- end }}
  {{- end }}
{{- if .Values.webhook.existingSecret }}
webhook:
  secret_file: /etc/callward/secrets/webhook/secret
{{- end }}
{{- if .Values.model.volume }}
model:
  folder: {{ list "/var/lib/callward/models" .Values.model.folder | compact | join "/" | quote }}
{{- end }}
{{- end -}}

{{/* Values reach templates as floats, and toToml would write `workers = 1.0`, which is no number of workers. Changes
     the map that it is given; what is null is left to the program's default. */}}
{{- define "callward.integers" -}}
{{- $map := . -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- include "callward.integers" $value -}}
{{- else if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "float64" $value -}}
{{- if eq $value (floor $value) -}}
{{- $_ := set $map $key (int64 $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callward.toml" -}}
{{- $config := mergeOverwrite (deepCopy .Values.config) (include "callward.owned" . | fromYaml) -}}
{{- include "callward.integers" $config -}}
{{- toToml $config | trim -}}
{{- end -}}

{{/* Sources of the volume at /etc/callward: one volume, so that secrets need no mount within a read-only mount. */}}
{{- define "callward.etc" -}}
- configMap:
    name: {{ include "callward.fullname" . }}
{{- with .Values.kafka.auth }}
{{- if .mechanism }}
- secret:
    name: {{ .existingSecret | quote }}
    items:
      - key: {{ .passwordKey | quote }}
        path: secrets/kafka/password
{{- end }}
{{- end }}
{{- with .Values.kafka.tls }}
{{- if .enabled }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
- {{ ternary "secret" "configMap" (ne .ca.existingSecret "") }}:
    name: {{ default .ca.existingConfigMap .ca.existingSecret | quote }}
    items:
      - key: {{ .ca.key | quote }}
        path: secrets/kafka/ca.crt
{{- end }}
{{- with .clientCertificate }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret | quote }}
    items:
      - key: {{ .certificateKey | quote }}
        path: secrets/kafka/tls.crt
      - key: {{ .privateKeyKey | quote }}
        path: secrets/kafka/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.webhook }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret | quote }}
    items:
      - key: {{ .secretKey | quote }}
        path: secrets/webhook/secret
{{- end }}
{{- end }}
{{- end -}}

{{- define "callward.webhookUrl" -}}
{{- dig "webhook" "url" "" .Values.config | default "" -}}
{{- end -}}

{{- define "callward.webhookPort" -}}
{{- $url := include "callward.webhookUrl" . | default "https://" | urlParse -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end -}}
