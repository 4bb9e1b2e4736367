import './whole.js'
import '../step/oracle.test.js'
