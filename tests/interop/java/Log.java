import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;

/** Kafka's own clients, with the serdes their settings name. */
final class Log {
  /** Send records, each under one of its fields as the key; the partition of each. */
  static List<Integer> produce(JsonNode request) throws Exception {
    Schema schema = Avro.schema(request.get("writer"));
    String key = request.get("key").asText();
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (KafkaProducer<String, GenericRecord> producer = new KafkaProducer<>(Apicurio.settings(request))) {
      for (JsonNode fields : request.get("records")) {
        GenericRecord value = Values.record(schema, fields);
        sent.add(producer.send(new ProducerRecord<>(topic(request), fields.get(key).asText(), value)));
      }
    }
    List<Integer> partitions = new ArrayList<>();
    for (Future<RecordMetadata> each : sent) {
      partitions.add(each.get().partition());
    }
    return partitions;
  }

  /** The fields of all records of a topic, partition by partition. */
  static List<Map<String, Object>> consume(JsonNode request) {
    Values.model();
    List<Map<String, Object>> read = new ArrayList<>();
    try (KafkaConsumer<String, GenericRecord> consumer = new KafkaConsumer<>(Apicurio.settings(request))) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic(request)).stream()
              .map(each -> new TopicPartition(each.topic(), each.partition()))
              .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      while (!partitions.stream().allMatch(each -> consumer.position(each) >= ends.get(each))) {
        for (ConsumerRecord<String, GenericRecord> record : consumer.poll(Duration.ofMillis(200))) {
          read.add(Values.shown(record.value()));
        }
      }
    }
    return read;
  }

  /** Where a producer without a partitioner of its own would send keys. */
  static List<Integer> partitions(JsonNode request) {
    List<Integer> partitions = new ArrayList<>();
    for (JsonNode key : request.get("keys")) {
      byte[] bytes = key.asText().getBytes(StandardCharsets.UTF_8);
      partitions.add(BuiltInPartitioner.partitionForKey(bytes, request.get("count").intValue()));
    }
    return partitions;
  }

  private static String topic(JsonNode request) {
    return request.get("topic").asText();
  }

  private Log() {}
}
