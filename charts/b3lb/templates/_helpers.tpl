{{/* First part of the names of objects; leaves room for what is added to it. A Service takes it only as a DNS label. */}}
{{- define "b3lb.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $whole := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $label := default $whole .Values.fullnameOverride | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $label) -}}
{{- fail (printf "fullnameOverride: the names of objects would begin with %q, which does not begin with a letter or is no DNS label; set it to a name of small letters, digits and \"-\"" $label) -}}
{{- end -}}
{{- $label -}}
{{- end -}}

{{/* Name of something that belongs to the whole cluster; no namespace has a dot, so no other release has this name. */}}
{{- define "b3lb.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "b3lb.fullname" .) -}}
{{- end -}}

{{/* The namespaces of farms, as JSON. */}}
{{- define "b3lb.namespaces" -}}
{{- default (list .Release.Namespace) (uniq .Values.namespaces) | toJson -}}
{{- end -}}

{{/* What pods are selected by. Arguments: root, component. */}}
{{- define "b3lb.selectorLabels" -}}
app.kubernetes.io/name: b3lb-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* Labels of an object. Arguments: root, component, labels (further ones, may be absent). */}}
{{- define "b3lb.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (printf "b3lb-%s" .component)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/component" .component
  "app.kubernetes.io/part-of" "b3lb"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version)
-}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (default dict .labels)) $own | toYaml -}}
{{- end -}}

{{/* Labels and annotations of an object. Arguments: root, component, annotations (further ones, may be absent). */}}
{{- define "b3lb.metadata" -}}
labels:
  {{- include "b3lb.labels" (dict "root" .root "component" .component) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a pod. Arguments: root, component, labels, annotations (the last two may be absent). */}}
{{- define "b3lb.podMetadata" -}}
labels:
  {{- include "b3lb.labels" . | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (default dict .annotations)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image of operator, front end and jobs. */}}
{{- define "b3lb.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The image of renders on PyPy; a digest belongs to one image only. */}}
{{- define "b3lb.pypyImage" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}-pypy:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}

{{- define "b3lb.operatorServiceAccount" -}}
{{- default (printf "%s-operator" (include "b3lb.fullname" .)) .Values.operator.serviceAccount.name -}}
{{- end -}}

{{- define "b3lb.jobsServiceAccount" -}}
{{- default (printf "%s-jobs" (include "b3lb.fullname" .)) .Values.jobs.serviceAccount.name -}}
{{- end -}}

{{- define "b3lb.apiServiceAccount" -}}
{{- default (printf "%s-api" (include "b3lb.fullname" .)) .Values.api.serviceAccount.name -}}
{{- end -}}

{{- define "b3lb.databaseSecret" -}}
{{- default (printf "%s-database" (include "b3lb.fullname" .)) .Values.database.existingSecret.name -}}
{{- end -}}

{{- define "b3lb.encryptionSecret" -}}
{{- default (printf "%s-encryption" (include "b3lb.fullname" .)) .Values.encryption.existingSecret.name -}}
{{- end -}}

{{- define "b3lb.controlSecret" -}}
{{- default (printf "%s-control" (include "b3lb.fullname" .)) .Values.control.existingSecret.name -}}
{{- end -}}

{{/* A value of a Secret, or a new one, the same in the whole rendering.
     Arguments: root, secret, key, new, namespace (absent: the release's). */}}
{{- define "b3lb.generatedOnce" -}}
{{- $namespace := default .root.Release.Namespace .namespace -}}
{{- $cache := printf "%s/%s/%s" $namespace .secret .key -}}
{{- $found := get (default dict .root.Values.generated) $cache -}}
{{- if not $found -}}
{{- $live := lookup "v1" "Secret" $namespace .secret | default dict -}}
{{- $found = get (default dict $live.data) .key | b64dec | default .new -}}
{{- $_ := set .root.Values "generated" (merge (dict $cache $found) (default dict .root.Values.generated)) -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{- define "b3lb.databasePassword" -}}
{{- include "b3lb.generatedOnce" (dict "root" . "secret" (include "b3lb.databaseSecret" .) "key" "password" "new" (randAlphaNum 40)) -}}
{{- end -}}

{{- define "b3lb.encryptionKeys" -}}
{{- include "b3lb.generatedOnce" (dict "root" . "secret" (include "b3lb.encryptionSecret" .) "key" "keys" "new" (printf "k1:%s" (randBytes 32))) -}}
{{- end -}}

{{/* Security context of a pod of b3lb. */}}
{{- define "b3lb.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Security context of a container. */}}
{{- define "b3lb.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{- define "b3lb.pullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* nodeSelector, tolerations and affinity, where given. */}}
{{- define "b3lb.placement" -}}
{{- $given := dict -}}
{{- range $name := list "nodeSelector" "tolerations" "affinity" -}}
{{- with get $ $name }}{{ $_ := set $given $name . }}{{ end -}}
{{- end -}}
{{- with $given }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* The keepalives of a program as environment variables. */}}
{{- define "b3lb.keepaliveEnv" -}}
- name: B3LB_DATABASE_KEEPALIVE_IDLE_SECONDS
  value: {{ .idleSeconds | quote }}
- name: B3LB_DATABASE_KEEPALIVE_INTERVAL_SECONDS
  value: {{ .intervalSeconds | quote }}
- name: B3LB_DATABASE_KEEPALIVE_COUNT
  value: {{ .count | quote }}
{{- end -}}

{{/* Database and key as environment variables. Arguments: root, optional (whether the program waits for the Secrets). */}}
{{- define "b3lb.secretEnv" -}}
- name: B3LB_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "b3lb.databaseSecret" .root }}
      key: url
      {{- if .optional }}
      optional: true
      {{- end }}
- name: B3LB_ENCRYPTION_KEYS
  valueFrom:
    secretKeyRef:
      name: {{ include "b3lb.encryptionSecret" .root }}
      key: keys
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end -}}
