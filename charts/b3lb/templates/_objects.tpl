{{/* The custom resources that belong to a release, by the ConfigMap that brings each: the API server knows their kinds
     only after the release was created, so the operator applies them. */}}

{{- define "b3lb.objects" -}}
{{- $objects := dict -}}
{{- if .Values.cluster.enabled -}}
{{- $cluster := dict -}}
{{- if include "b3lb.makesUploadSecret" . -}}
{{- $_ := set $cluster "uploadSecretRef" (dict "name" (include "b3lb.uploadSecret" .)) -}}
{{- end -}}
{{- $_ := set $objects "b3lb-cluster-default" (dict "kind" "BBBCluster" "name" "default" "spec" (mergeOverwrite $cluster (deepCopy .Values.cluster.spec))) -}}
{{- end -}}
{{- if .Values.queues.core.enabled -}}
{{- $core := dict "tasks" (list "check-nodes" "update-secrets-lists") "schedule" "* * * * *" -}}
{{- $_ := set $objects "b3lb-queue-core" (dict "kind" "BBBQueue" "name" "core" "spec" (mergeOverwrite $core .Values.queues.core.spec)) -}}
{{- end -}}
{{- if .Values.queues.statistics.enabled -}}
{{- $statistics := dict "tasks" (list "update-statistics" "deliver-callbacks") "schedule" "*/5 * * * *" -}}
{{- $_ := set $objects "b3lb-queue-statistics" (dict "kind" "BBBQueue" "name" "statistics" "spec" (mergeOverwrite $statistics .Values.queues.statistics.spec)) -}}
{{- end -}}
{{- if .Values.queues.record.enabled -}}
{{- $resources := dict "requests" (dict "cpu" "1" "memory" "8Gi") "limits" (dict "memory" "10Gi") -}}
{{- $record := dict "tasks" (list "render-record") "concurrency" 2 "resources" $resources -}}
{{- /* Its number of places is said in one way only. */ -}}
{{- if .Values.queues.record.spec.autoscaling -}}{{- $record = unset $record "concurrency" -}}{{- end -}}
{{- $_ := set $objects "b3lb-queue-record" (dict "kind" "BBBQueue" "name" "record" "spec" (mergeOverwrite $record (deepCopy .Values.queues.record.spec))) -}}
{{- end -}}
{{- if and .Values.recordProfile.enabled (ne .Values.storage.type "none") -}}
{{- $profile := mergeOverwrite (dict "default" true) (deepCopy .Values.recordProfile.spec) -}}
{{- $_ := set $objects "b3lb-record-profile-default" (dict "kind" "BBBRecordProfile" "name" "default" "spec" $profile) -}}
{{- end -}}
{{- if .Values.queues.housekeeping.enabled -}}
{{- $housekeeping := dict "tasks" (list "housekeeping-recordings" "finish-deletions" "sweep-storage" "forget-rows" "delete-recording") "schedule" "15 3 * * *" -}}
{{- $_ := set $objects "b3lb-queue-housekeeping" (dict "kind" "BBBQueue" "name" "housekeeping" "spec" (mergeOverwrite $housekeeping .Values.queues.housekeeping.spec)) -}}
{{- end -}}
{{- $objects | toJson -}}
{{- end -}}

{{/* One of them. Arguments: root, object. */}}
{{- define "b3lb.object" -}}
apiVersion: b3lb.io/v1alpha1
kind: {{ .object.kind }}
metadata:
  name: {{ .object.name }}
  labels:
    {{- $own := dict "app.kubernetes.io/part-of" "b3lb" "app.kubernetes.io/instance" .root.Release.Name }}
    {{- mergeOverwrite (deepCopy .root.Values.commonLabels) $own | toYaml | nindent 4 }}
spec:
  {{- toYaml .object.spec | nindent 2 }}
{{- end -}}
