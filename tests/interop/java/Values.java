import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.LogicalType;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.IndexedRecord;

/** Generic records as JSON and back: dates and times in ISO 8601, decimals as text, bytes in hexadecimal digits. */
final class Values {
  private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss.SSSSSS");
  private static final DateTimeFormatter LOCAL = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS");
  private static final DateTimeFormatter MICROSECONDS =
      DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSSxxx").withZone(ZoneOffset.UTC);

  static {
    GenericData model = GenericData.get();
    // Avro 1.12's fast reader converts a value twice where only the writer has a union, and fails.
    model.setFastReaderEnabled(false);
    model.addLogicalTypeConversion(new Conversions.DecimalConversion());
    model.addLogicalTypeConversion(new Conversions.UUIDConversion());
    model.addLogicalTypeConversion(new TimeConversions.DateConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimeMillisConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimeMicrosConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimestampMillisConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimestampNanosConversion());
    model.addLogicalTypeConversion(new TimeConversions.LocalTimestampMillisConversion());
    model.addLogicalTypeConversion(new TimeConversions.LocalTimestampMicrosConversion());
    model.addLogicalTypeConversion(new TimeConversions.LocalTimestampNanosConversion());
  }

  /** Avro's generic model, with its logical types. */
  static GenericData model() {
    return GenericData.get();
  }

  static Map<String, Object> shown(IndexedRecord record) {
    Map<String, Object> shown = new LinkedHashMap<>();
    for (Schema.Field field : record.getSchema().getFields()) {
      shown.put(field.name(), shown(record.get(field.pos())));
    }
    return shown;
  }

  private static Object shown(Object value) {
    return switch (value) {
      case null -> null;
      case IndexedRecord record -> shown(record);
      case List<?> items -> shown(items);
      case Map<?, ?> entries -> shown(entries);
      case ByteBuffer bytes -> HexFormat.of().formatHex(bytes.array());
      case GenericFixed fixed -> HexFormat.of().formatHex(fixed.bytes());
      case Instant instant -> MICROSECONDS.format(instant);
      case LocalDateTime local -> LOCAL.format(local);
      case LocalTime time -> TIME.format(time);
      case BigDecimal decimal -> decimal.toPlainString();
      // All digits of a float, as Python has them.
      case Float number -> number.doubleValue();
      case Number number -> number;
      case Boolean truth -> truth;
      default -> value.toString();
    };
  }

  private static List<Object> shown(List<?> items) {
    List<Object> shown = new ArrayList<>();
    items.forEach(item -> shown.add(shown(item)));
    return shown;
  }

  private static Map<String, Object> shown(Map<?, ?> entries) {
    Map<String, Object> shown = new LinkedHashMap<>();
    entries.forEach((key, value) -> shown.put(key.toString(), shown(value)));
    return shown;
  }

  static GenericRecord record(Schema schema, JsonNode fields) {
    GenericRecord record = new GenericData.Record(schema);
    for (Schema.Field field : schema.getFields()) {
      record.put(field.pos(), value(field.schema(), fields.get(field.name())));
    }
    return record;
  }

  private static Object value(Schema schema, JsonNode value) {
    if (schema.isUnion()) {
      return value.isNull() ? null : value(given(schema), value);
    }
    LogicalType type = schema.getLogicalType();
    if (type != null) {
      return converted(type.getName(), value.asText());
    }
    return switch (schema.getType()) {
      case BOOLEAN -> value.booleanValue();
      case INT -> value.intValue();
      case LONG -> value.longValue();
      case FLOAT -> (float) value.doubleValue();
      case DOUBLE -> value.doubleValue();
      case STRING -> value.asText();
      case BYTES -> ByteBuffer.wrap(HexFormat.of().parseHex(value.asText()));
      case FIXED -> new GenericData.Fixed(schema, HexFormat.of().parseHex(value.asText()));
      case ENUM -> new GenericData.EnumSymbol(schema, value.asText());
      case ARRAY -> items(schema, value);
      case MAP -> entries(schema, value);
      case RECORD -> record(schema, value);
      default -> throw new IllegalArgumentException("no trade has a field of " + schema);
    };
  }

  private static List<Object> items(Schema schema, JsonNode values) {
    List<Object> items = new ArrayList<>();
    values.forEach(each -> items.add(value(schema.getElementType(), each)));
    return items;
  }

  private static Map<String, Object> entries(Schema schema, JsonNode values) {
    Map<String, Object> entries = new LinkedHashMap<>();
    values.properties().forEach(each -> entries.put(each.getKey(), value(schema.getValueType(), each.getValue())));
    return entries;
  }

  private static Object converted(String type, String value) {
    return switch (type) {
      case "decimal" -> new BigDecimal(value);
      case "uuid" -> UUID.fromString(value);
      case "date" -> LocalDate.parse(value);
      case "time-millis", "time-micros" -> LocalTime.parse(value);
      case "timestamp-millis", "timestamp-micros", "timestamp-nanos" -> OffsetDateTime.parse(value).toInstant();
      case "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos" -> LocalDateTime.parse(value);
      default -> throw new IllegalArgumentException("no trade has a field of " + type);
    };
  }

  /** The branch of a nullable type that is not null. */
  private static Schema given(Schema union) {
    return union.getTypes().stream().filter(type -> !type.isNullable()).findFirst().orElseThrow();
  }

  private Values() {}
}
