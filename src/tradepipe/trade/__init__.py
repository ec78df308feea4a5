"""Trade declaration, validation rules and Kafka records."""
