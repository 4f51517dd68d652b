{{/* What the operator puts into the pods of every queue, as JSON: see B3LB_JOB_TEMPLATE in docs/running.md. */}}
{{- define "b3lb.jobTemplate" -}}
{{- $common := dict
  "serviceAccountName" (include "b3lb.jobsServiceAccount" .)
  "env" (concat (include "b3lb.keepaliveEnv" .Values.jobs.database.keepalive | fromYamlArray) .Values.jobs.extraEnv)
  "imagePullPolicy" .Values.image.pullPolicy
-}}
{{- with .Values.imagePullSecrets }}{{ $_ := set $common "imagePullSecrets" . }}{{ end -}}
{{- with mergeOverwrite (deepCopy .Values.commonLabels) .Values.jobs.podLabels }}{{ $_ := set $common "labels" . }}{{ end -}}
{{- with mergeOverwrite (deepCopy .Values.commonAnnotations) .Values.jobs.podAnnotations }}{{ $_ := set $common "annotations" . }}{{ end -}}
{{- with .Values.jobs.nodeSelector }}{{ $_ := set $common "nodeSelector" . }}{{ end -}}
{{- with .Values.jobs.tolerations }}{{ $_ := set $common "tolerations" . }}{{ end -}}
{{- with .Values.jobs.affinity }}{{ $_ := set $common "affinity" . }}{{ end -}}
{{- with .Values.jobs.extraVolumes }}{{ $_ := set $common "volumes" . }}{{ end -}}
{{- with .Values.jobs.extraVolumeMounts }}{{ $_ := set $common "volumeMounts" . }}{{ end -}}
{{- $queues := dict -}}
{{- if .Values.priorityClasses.create -}}
{{- range $name := list "core" "statistics" "record" "housekeeping" -}}
{{- $_ := set $queues $name (dict "priorityClassName" (printf "%s-%s" (include "b3lb.clusterName" $) $name)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $given := .Values.jobs.queues -}}
{{- $own := get $queues $name | default dict -}}
{{- range $from, $to := dict "podLabels" "labels" "podAnnotations" "annotations" "priorityClassName" "priorityClassName" "nodeSelector" "nodeSelector" "tolerations" "tolerations" "affinity" "affinity" "extraEnv" "env" -}}
{{- with get $given $from }}{{ $_ := set $own $to . }}{{ end -}}
{{- end -}}
{{- $_ := set $queues $name $own -}}
{{- end -}}
{{- with $queues }}{{ $_ := set $common "queues" . }}{{ end -}}
{{- $common | toJson -}}
{{- end -}}
