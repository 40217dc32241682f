{{/* Labels of every object. */}}
{{- define "hawse.labels" -}}
app.kubernetes.io/name: hawse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: hawse
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels that find the operator's pods. */}}
{{- define "hawse.operatorSelector" -}}
app.kubernetes.io/name: hawse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels that find the name servers' pods. */}}
{{- define "hawse.dnsSelector" -}}
app.kubernetes.io/name: hawse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: dns
{{- end }}

{{/* An image: dict "image" (repository, tag, digest) "root" $ */}}
{{- define "hawse.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What the operator may do with the objects of tenants; the same rules in a ClusterRole or in Roles. */}}
{{- define "hawse.tenantRules" -}}
- apiGroups: [hawse.dev]
  resources: [tunnels, agenttokens, accesspolicies]
  verbs: [get, list, watch]  # a tenant's spec is never written
- apiGroups: [hawse.dev]
  resources: [agentsessions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [hawse.dev]
  resources: [tunnels/status, agenttokens/status, agentsessions/status, accesspolicies/status]
  verbs: [patch]
- apiGroups: [hawse.dev]
  resources: [agenttokens/finalizers]
  verbs: [update]  # children with blockOwnerDeletion
# By name only: no list, no watch. The policy in secretpolicy.yaml binds all but get to Secrets that the operator made.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# By name only: the Services that Tunnels lead to.
- apiGroups: [""]
  resources: [services]
  verbs: [get]
{{ include "hawse.eventRule" . }}
{{- end }}

{{/* Posting events and counting them up. */}}
{{- define "hawse.eventRule" -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
