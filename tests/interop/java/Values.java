import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.avro.Conversions;
import org.apache.avro.LogicalType;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.IndexedRecord;

/** Generic records as JSON and back: dates and instants in ISO 8601, decimals as text. */
final class Values {
  private static final DateTimeFormatter MICROSECONDS =
      DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSSxxx").withZone(ZoneOffset.UTC);

  static {
    GenericData model = GenericData.get();
    model.addLogicalTypeConversion(new TimeConversions.DateConversion());
    model.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
    model.addLogicalTypeConversion(new Conversions.DecimalConversion());
  }

  /** Avro's generic model, with the logical types of a trade. */
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
    if (value == null || value instanceof Number && !(value instanceof BigDecimal)) {
      return value;
    }
    if (value instanceof Instant) {
      return MICROSECONDS.format((Instant) value);
    }
    return value instanceof BigDecimal ? ((BigDecimal) value).toPlainString() : value.toString();
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
      case INT -> value.intValue();
      case ENUM -> new GenericData.EnumSymbol(schema, value.asText());
      case STRING -> value.asText();
      default -> throw new IllegalArgumentException("no trade has a field of " + schema);
    };
  }

  private static Object converted(String type, String value) {
    return switch (type) {
      case "date" -> LocalDate.parse(value);
      case "timestamp-micros" -> OffsetDateTime.parse(value).toInstant();
      case "decimal" -> new BigDecimal(value);
      default -> throw new IllegalArgumentException("no trade has a field of " + type);
    };
  }

  /** The branch of a nullable type that is not null. */
  private static Schema given(Schema union) {
    return union.getTypes().stream().filter(type -> !type.isNullable()).findFirst().orElseThrow();
  }

  private Values() {}
}
