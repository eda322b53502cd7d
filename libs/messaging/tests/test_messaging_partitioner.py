"""A key lies where Kafka's own clients put it."""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from messaging.partitioner import partition_of


@given(st.binary(max_size=80), st.integers(1, 50))
def test_a_key_lies_where_other_clients_look_for_it(key: bytes, count: int) -> None:
    partitions = list(range(count))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, partitions, partitions)
