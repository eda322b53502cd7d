#!/bin/sh
# Prints the Secrets of an installation, once:  sh secrets.sh | kubectl create -n vicinato -f -
#
# `create` refuses what is there already: a password is never changed by accident. Kafka's users get
# theirs from Strimzi. E-mail of the first administrator: ADMIN_EMAIL.
set -eu

word() { head -c "$1" /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }

for service in identity cards shop activities notifications network; do
	cat <<-END
		---
		apiVersion: v1
		kind: Secret
		metadata: { name: store-$service, labels: { cnpg.io/reload: "true" } }
		type: kubernetes.io/basic-auth
		stringData: { username: vicinato_$service, password: "$(word 24)" }
	END
done
cat <<-END
	---
	apiVersion: v1
	kind: Secret
	metadata: { name: sealing-key }
	stringData: { key: "$(word 24)" }
	---
	apiVersion: v1
	kind: Secret
	metadata: { name: first-admin }
	stringData:
	  first-admin.json: '{"email": "${ADMIN_EMAIL:-amministrazione@vicinato.example}", "password": "$(word 18)"}'
	---
	apiVersion: v1
	kind: Secret
	metadata: { name: smtp }
	stringData: { password: "${SMTP_PASSWORD:-}" }
END
