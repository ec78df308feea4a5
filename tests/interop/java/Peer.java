import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Java's side of the tests: one request as JSON a line on stdin, one answer a line on stdout, until stdin ends. */
public final class Peer {
  private interface Task {
    Object answer(JsonNode request) throws Exception;
  }

  private static final Map<String, Task> TASKS =
      Map.of(
          "avro-read", Avro::read,
          "avro-resolve", Avro::resolve,
          "avro-write", Avro::write,
          "avro-can-read", Avro::canRead,
          "apicurio-read", Apicurio::read,
          "apicurio-write", Apicurio::write,
          "kafka-produce", Log::produce,
          "kafka-consume", Log::consume,
          "kafka-partitions", Log::partitions);

  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    // Libraries that print would spoil the answers.
    System.setOut(System.err);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      answers.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
    }
    // Libraries that keep threads would keep the program.
    System.exit(0);
  }

  private static ObjectNode answer(JsonNode request) {
    ObjectNode said = JSON.createObjectNode();
    try {
      Object answer = TASKS.get(request.get("task").asText()).answer(request);
      return said.set("answer", JSON.valueToTree(answer));
    } catch (Exception | LinkageError failure) {
      failure.printStackTrace();
      return said.put("failure", failure.toString());
    }
  }

  private Peer() {}
}
