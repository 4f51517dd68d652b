{{/* Where recordings are, as JSON: env, volumes and volumeMounts of a pod. Empty: there is no storage. */}}
{{- define "b3lb.storage" -}}
{{- if eq .Values.storage.type "directory" -}}
{{- $path := "/var/lib/b3lb/storage" -}}
{{- dict
  "env" (list (dict "name" "B3LB_STORAGE_DIRECTORY" "value" $path))
  "volumes" (list (dict "name" "storage" "persistentVolumeClaim" (dict "claimName" (include "b3lb.storageClaim" .))))
  "volumeMounts" (list (dict "name" "storage" "mountPath" $path))
  | toJson
-}}
{{- else if eq .Values.storage.type "s3" -}}
{{- dict "env" (include "b3lb.bucketEnv" . | fromYamlArray) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "b3lb.storageClaim" -}}
{{- default (printf "%s-storage" (include "b3lb.fullname" .)) .Values.storage.directory.existingClaim -}}
{{- end -}}

{{/* The Secret with the keys of the bucket; empty: there is none. */}}
{{- define "b3lb.bucketSecret" -}}
{{- with .Values.storage.s3 -}}
{{- if .existingSecret.name -}}
{{- .existingSecret.name -}}
{{- else if or .accessKeyId .secretAccessKey -}}
{{- if not (and .accessKeyId .secretAccessKey) -}}
{{- fail "storage.s3: accessKeyId and secretAccessKey belong together" -}}
{{- end -}}
{{- printf "%s-s3" (include "b3lb.fullname" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "b3lb.bucketEnv" -}}
{{- with .Values.storage.s3 -}}
- name: B3LB_S3_BUCKET
  value: {{ required "storage.type s3 needs storage.s3.bucket" .bucket | quote }}
{{- range $name, $value := dict "B3LB_S3_ENDPOINT" .endpoint "B3LB_S3_PUBLIC_ENDPOINT" .publicEndpoint "B3LB_S3_REGION" .region }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
- name: B3LB_S3_PATH_STYLE
  value: {{ .pathStyle | quote }}
- name: B3LB_S3_PART_MIB
  value: {{ .partMiB | int | quote }}
{{- $secret := include "b3lb.bucketSecret" $ }}
{{- if $secret }}
- name: B3LB_S3_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ .existingSecret.accessKeyIdKey }}
- name: B3LB_S3_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ .existingSecret.secretAccessKeyKey }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Ports of the S3 server, as JSON. */}}
{{- define "b3lb.bucketPorts" -}}
{{- $endpoint := default "https://" .Values.storage.s3.endpoint | trimSuffix "/" -}}
{{- $own := regexFind ":[0-9]+$" $endpoint | trimPrefix ":" -}}
{{- $usual := hasPrefix "http://" $endpoint | ternary 80 443 -}}
{{- default (list (default $usual $own | int)) .Values.networkPolicy.storage.ports | toJson -}}
{{- end -}}

{{/* The Secret with the nonce by which BigBlueButton servers upload, where the chart makes it. */}}
{{- define "b3lb.uploadSecret" -}}
{{- printf "%s-upload" (include "b3lb.fullname" .) -}}
{{- end -}}

{{/* Not empty: the chart makes it. */}}
{{- define "b3lb.makesUploadSecret" -}}
{{- if and .Values.api.enabled .Values.cluster.enabled (not .Values.cluster.spec.uploadSecretRef) -}}yes{{- end -}}
{{- end -}}
