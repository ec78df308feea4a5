import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/** Apache Avro by itself: the frame is written and read here. */
final class Avro {
  private static final int HEAD = 5;

  /** The fields of framed values, written by one schema and read by another. */
  static List<Map<String, Object>> read(JsonNode request) throws IOException {
    Schema writer = schema(request.get("writer"));
    Schema reader = schema(request.get("reader"));
    GenericDatumReader<GenericRecord> datums = new GenericDatumReader<>(writer, reader, Values.model());
    List<Map<String, Object>> read = new ArrayList<>();
    for (JsonNode value : request.get("values")) {
      byte[] framed = HexFormat.of().parseHex(value.asText());
      BinaryDecoder body = DecoderFactory.get().binaryDecoder(framed, HEAD, framed.length - HEAD, null);
      read.add(Values.shown(datums.read(null, body)));
      if (!body.isEnd()) {
        throw new IOException("bytes follow the record");
      }
    }
    return read;
  }

  /** The fields of a body, read by a schema with aliases and defaults; or why it is not a record of its writer. */
  static List<Map<String, Object>> resolve(JsonNode request) {
    Schema writer = schema(request.get("writer"));
    Schema reader = schema(request.get("reader"));
    GenericDatumReader<GenericRecord> datums = new GenericDatumReader<>(writer, reader, Values.model());
    List<Map<String, Object>> read = new ArrayList<>();
    for (JsonNode value : request.get("bodies")) {
      byte[] bytes = HexFormat.of().parseHex(value.asText());
      try {
        BinaryDecoder body = DecoderFactory.get().binaryDecoder(bytes, null);
        GenericRecord record = datums.read(null, body);
        read.add(body.isEnd() ? Map.of("record", Values.shown(record)) : Map.of("problem", "bytes follow the record"));
      } catch (IOException | RuntimeException refused) {
        read.add(Map.of("problem", refused.toString()));
      }
    }
    return read;
  }

  /** Records as framed values. */
  static List<String> write(JsonNode request) throws IOException {
    Schema schema = schema(request.get("writer"));
    GenericDatumWriter<GenericRecord> datums = new GenericDatumWriter<>(schema, Values.model());
    List<String> written = new ArrayList<>();
    for (JsonNode fields : request.get("records")) {
      ByteArrayOutputStream value = new ByteArrayOutputStream();
      value.write(ByteBuffer.allocate(HEAD).put((byte) 0).putInt(request.get("id").intValue()).array());
      BinaryEncoder body = EncoderFactory.get().binaryEncoder(value, null);
      datums.write(Values.record(schema, fields), body);
      body.flush();
      written.add(HexFormat.of().formatHex(value.toByteArray()));
    }
    return written;
  }

  /** Of pairs of a reader and a writer: whether the one can read the other. */
  static List<Boolean> canRead(JsonNode request) {
    List<Boolean> verdicts = new ArrayList<>();
    for (JsonNode pair : request.get("pairs")) {
      verdicts.add(canRead(schema(pair.get(0)), schema(pair.get(1))));
    }
    return verdicts;
  }

  private static boolean canRead(Schema reader, Schema writer) {
    try {
      return SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getType()
          == SchemaCompatibility.SchemaCompatibilityType.COMPATIBLE;
    } catch (AvroRuntimeException refused) {
      // As registries take it: no verdict is a no.
      return false;
    }
  }

  static Schema schema(JsonNode text) {
    return new Schema.Parser().parse(text.asText());
  }

  private Avro() {}
}
