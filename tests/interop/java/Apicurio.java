import com.fasterxml.jackson.databind.JsonNode;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;

/** Apicurio's serdes for Kafka, made to frame values as Confluent's do. */
final class Apicurio {
  static List<String> write(JsonNode request) {
    Schema schema = Avro.schema(request.get("writer"));
    List<String> written = new ArrayList<>();
    try (AvroKafkaSerializer<GenericRecord> serializer = new AvroKafkaSerializer<>()) {
      serializer.configure(settings(request), false);
      for (JsonNode fields : request.get("records")) {
        byte[] value = serializer.serialize(topic(request), Values.record(schema, fields));
        written.add(HexFormat.of().formatHex(value));
      }
    }
    return written;
  }

  static List<Map<String, Object>> read(JsonNode request) {
    Values.model();
    List<Map<String, Object>> read = new ArrayList<>();
    try (AvroKafkaDeserializer<GenericRecord> deserializer = new AvroKafkaDeserializer<>()) {
      deserializer.configure(settings(request), false);
      for (JsonNode value : request.get("values")) {
        byte[] framed = HexFormat.of().parseHex(value.asText());
        read.add(Values.shown(deserializer.deserialize(topic(request), framed)));
      }
    }
    return read;
  }

  /** The settings a test gives, by the names of Kafka's clients. */
  static Map<String, Object> settings(JsonNode request) {
    Map<String, Object> settings = new HashMap<>();
    request.get("settings").properties().forEach(each -> settings.put(each.getKey(), each.getValue().asText()));
    return settings;
  }

  private static String topic(JsonNode request) {
    return request.get("topic").asText();
  }

  private Apicurio() {}
}
