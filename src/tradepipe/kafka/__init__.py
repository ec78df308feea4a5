"""Kafka: librdkafka configuration, consuming, producing, topics."""
