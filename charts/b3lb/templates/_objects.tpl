{{/* The custom resources that belong to a release, by the ConfigMap that brings each: the API server knows their kinds
     only after the release was created, so the operator applies them. */}}

{{- define "b3lb.objects" -}}
{{- $objects := dict -}}
{{- if .Values.cluster.enabled -}}
{{- $_ := set $objects "b3lb-cluster-default" (dict "kind" "BBBCluster" "name" "default" "spec" .Values.cluster.spec) -}}
{{- end -}}
{{- if .Values.queues.core.enabled -}}
{{- $core := dict "tasks" (list "check-nodes" "update-secrets-lists") "schedule" "* * * * *" -}}
{{- $_ := set $objects "b3lb-queue-core" (dict "kind" "BBBQueue" "name" "core" "spec" (mergeOverwrite $core .Values.queues.core.spec)) -}}
{{- end -}}
{{- if .Values.queues.statistics.enabled -}}
{{- $statistics := dict "tasks" (list "update-statistics" "deliver-callbacks") "schedule" "*/5 * * * *" -}}
{{- $_ := set $objects "b3lb-queue-statistics" (dict "kind" "BBBQueue" "name" "statistics" "spec" (mergeOverwrite $statistics .Values.queues.statistics.spec)) -}}
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
