"""The way of a fact: outbox, relay, inbox, place, projections, replay."""
