#!/bin/sh
# Starts the official Kafka image as `vicinato up` starts its own: one KRaft node, SCRAM for clients,
# ACLs, fsync on every append (deploy/local/src/vicinato/kafka/broker.py; a test compares them).
#
# Secrets come from files and go into files that nobody else reads: never into the environment or a
# command line. They hold letters, digits, - and _ only, as `secrets.sh` makes them.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
data=${KAFKA_FOLDER:-/var/lib/kafka/data}
libraries=${KAFKA_LIBRARIES:-/opt/kafka/libs/*}
host=${KAFKA_HOST:-kafka}
port=${KAFKA_PORT:-9092}
controller_port=${KAFKA_CONTROLLER_PORT:-9093}
settings=${TMPDIR:-/tmp}/server.properties
quiet="-Dlog4j2.level=WARN -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
read -r admin <"$secrets/kafka-admin" || [ -n "$admin" ]
read -r controller <"$secrets/kafka-controller" || [ -n "$controller" ]

cat >"$settings" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$host:$controller_port
listeners=CLIENT://:$port,CONTROLLER://:$controller_port
advertised.listeners=CLIENT://$host:$port
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$admin";
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="controller" password="$controller" user_controller="$controller";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:controller
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
log.dirs=$data/log
log.flush.interval.messages=1
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
group.initial.rebalance.delay.ms=0
num.partitions=3
num.network.threads=2
num.io.threads=2
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
END

if [ ! -e "$data/formatted" ]; then
	arguments=${TMPDIR:-/tmp}/format.args
	cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22)
	cat >"$arguments" <<END
kafka.tools.StorageTool
format
-t
$cluster
-c
$settings
--ignore-formatted
--add-scram
"SCRAM-SHA-512=[name=admin,password=$admin]"
END
	# What it prints holds what a password can be guessed from.
	java $quiet -cp "$libraries" "@$arguments" >/dev/null
	rm "$arguments"
	: >"$data/formatted"
fi

exec java "-Xmx${KAFKA_HEAP:-512m}" -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true $quiet \
	-cp "$libraries" kafka.Kafka "$settings"
